//! The registries of the suite, and what each cannot do.

use std::any::Any;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use sealift_oci::Reference;
use sealift_registry::{Credential, Error, Options, Secret, Sink, Source, Tls, Transport};
use sealift_testkit::image::Image;
use sealift_testkit::registry::{
    Auth, Bearer, Chunks, Options as Serving, Registry, Support, Tls as ServedTls, UploadState,
    UploadUrl, tls,
};

use crate::lab::{copy, options, sink, source};
#[cfg(target_os = "linux")]
use crate::peers::Peer;
use crate::relay::Relay;

/// A registry to test against.
pub(crate) struct Place {
    pub(crate) relay: Relay,
    /// As it stands in a reference.
    pub(crate) host: String,
    pub(crate) options: Box<dyn Fn() -> Options>,
    /// That of the process that most is done in; made when first needed.
    transport: OnceLock<Transport>,
    pub(crate) login: Login,
    lacks: &'static [Lack],
    /// What keeps it running.
    _registry: Box<dyn Any>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Login {
    Needed,
    NotNeeded,
}

/// What a registry cannot do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lack {
    /// It shows no blob of another repository.
    Mounts,
    /// It shows every blob in every repository, and so has nothing to mount.
    RepositoriesOfTheirOwn,
    /// It serves blobs as a whole only.
    Ranges,
    /// It takes a blob in one piece only.
    Chunks,
    /// An upload cannot be continued by another process.
    Sessions,
    /// An upload that breaks off within a chunk may be lost.
    BrokenChunks,
    /// It takes no indexes.
    Indexes,
    /// It takes manifests by tag only.
    ManifestsByDigest,
    /// It takes no manifest without `mediaType`.
    UntypedManifests,
    /// It keeps no list of referrers.
    Referrers,
    /// It lists no tags.
    TagList,
    /// It deletes nothing.
    Deletion,
}

impl Place {
    fn new(port: u16, registry: Box<dyn Any>, lacks: &'static [Lack]) -> Self {
        let relay = Relay::to(port);
        Self {
            host: format!("127.0.0.1:{}", relay.port),
            relay,
            options: Box::new(options),
            transport: OnceLock::new(),
            login: Login::NotNeeded,
            lacks,
            _registry: registry,
        }
    }

    fn with_login(self) -> Self {
        let options = self.options;
        Self {
            options: Box::new(move || {
                let mut options = options();
                let password = Secret::new("s3cret".into());
                options.credentials.explicit = Some(Credential::new("alice".into(), password));
                options
            }),
            login: Login::Needed,
            ..self
        }
    }

    /// Trusts the authority in a file, for itself and for whoever does not log in.
    fn trusting(self, authority: PathBuf) -> Self {
        let options = self.options;
        Self {
            options: Box::new(move || Options {
                tls: Tls {
                    authorities: vec![authority.clone()],
                    client: None,
                },
                ..options()
            }),
            ..self
        }
    }

    pub(crate) fn lacks(&self, lack: Lack) -> bool {
        self.lacks.contains(&lack)
    }

    pub(crate) fn transport(&self) -> &Transport {
        let begin = || Transport::new((self.options)()).unwrap();
        self.transport.get_or_init(begin)
    }

    /// Options of somebody whom the registry does not know.
    pub(crate) fn stranger(&self) -> Transport {
        let mut options = (self.options)();
        options.credentials.explicit = None;
        Transport::new(options).unwrap()
    }

    pub(crate) fn name(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.host)
    }

    pub(crate) fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.host).parse().unwrap()
    }

    pub(crate) fn source(&self, name: &str) -> Box<dyn Source> {
        source(self.transport(), &self.name(name))
    }

    pub(crate) fn sink(&self, name: &str) -> Box<dyn Sink> {
        sink(self.transport(), &self.name(name))
    }

    /// Pushes an image, out of a layout.
    pub(crate) fn push(&self, image: &Image, name: &str) -> Result<(), Error> {
        let folder = tempfile::tempdir().unwrap();
        image.write_layout(folder.path(), "v1");
        let transport = self.transport();
        let from = source(transport, &format!("oci:{}:v1", folder.path().display()));
        copy(&*from, &*sink(transport, &self.name(name))).map(drop)
    }

    pub(crate) fn tags(&self, name: &str) -> Result<Vec<String>, Error> {
        let transport = self.transport();
        let reference = self.reference(name);
        let tags = transport.client().tags(&reference);
        transport.runtime().block_on(tags)
    }
}

/// It does not know of the relay, so its locations must not name itself.
fn relayed() -> Serving {
    Serving {
        upload_url: UploadUrl::Relative,
        ..Serving::default()
    }
}

pub(crate) fn testkit() -> Option<Place> {
    let registry = Registry::start(Serving {
        page: 2,
        ..relayed()
    });
    Some(Place::new(registry.addr().port(), Box::new(registry), &[]))
}

pub(crate) fn testkit_with_tls_and_tokens_that_die() -> Option<Place> {
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.crt");
    fs::write(&authority, tls::CA).unwrap();
    let registry = Registry::start(Serving {
        tls: ServedTls::On,
        auth: Auth::Bearer(Bearer {
            credentials: Some(("alice".into(), "s3cret".into())),
            uses: 5,
            ..Bearer::default()
        }),
        upload_state: UploadState::Rotating,
        ..relayed()
    });
    let port = registry.addr().port();
    let place = Place::new(port, Box::new((registry, folder)), &[]);
    Some(place.trusting(authority).with_login())
}

pub(crate) fn testkit_with_little_more_than_it_must() -> Option<Place> {
    let registry = Registry::start(Serving {
        auth: Auth::Basic {
            user: "alice".into(),
            password: "s3cret".into(),
        },
        chunks: Chunks::Appended,
        upload_state: UploadState::Rotating,
        mounts: Support::No,
        ranges: Support::No,
        single_post: Support::No,
        referrers: Support::No,
        ..relayed()
    });
    let lacks = &[Lack::Mounts, Lack::Ranges, Lack::Referrers];
    let place = Place::new(registry.addr().port(), Box::new(registry), lacks);
    Some(place.with_login())
}

#[cfg(target_os = "linux")]
const DOCKER_LACKS: &[Lack] = &[Lack::Referrers, Lack::BrokenChunks];

#[cfg(target_os = "linux")]
pub(crate) fn docker_registry() -> Option<Place> {
    let peer = Peer::start("docker-registry", Some("none"))?;
    Some(Place::new(peer.port(), Box::new(peer), DOCKER_LACKS))
}

#[cfg(target_os = "linux")]
pub(crate) fn docker_registry_with_tls_and_a_password() -> Option<Place> {
    let peer = Peer::start("docker-registry", Some("basic"))?;
    let authority = peer.folder.path().join("ca.crt");
    let place = Place::new(peer.port(), Box::new(peer), DOCKER_LACKS);
    Some(place.trusting(authority).with_login())
}

#[cfg(target_os = "linux")]
pub(crate) fn docker_registry_with_tokens() -> Option<Place> {
    let peer = Peer::start("docker-registry", Some("token"))?;
    let place = Place::new(peer.port(), Box::new(peer), DOCKER_LACKS);
    Some(place.with_login())
}

#[cfg(target_os = "linux")]
pub(crate) fn container_registry() -> Option<Place> {
    let peer = Peer::start("container-registry", None)?;
    let lacks = &[
        Lack::RepositoriesOfTheirOwn,
        Lack::Ranges,
        Lack::Chunks,
        Lack::Sessions,
        Lack::BrokenChunks,
        Lack::Indexes,
        Lack::ManifestsByDigest,
        Lack::UntypedManifests,
        Lack::Referrers,
        Lack::TagList,
        Lack::Deletion,
    ];
    let place = Place::new(peer.port(), Box::new(peer), lacks);
    Some(place.with_login())
}
