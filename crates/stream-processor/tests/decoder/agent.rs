//! Layers whose keys the node's agent gets from key holders.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use sealift_agent::protocol::{
    Answer, Ask, MAX_ANSWER_LEN, MAX_QUESTION_LEN, Question, Refusal, Reply, Secret, Unwrap, frame,
    read_frame,
};
use sealift_keywrap::{LayerSecret, Recipient, Scheme, WrapContext, WrapError, WrappedKey};
use sealift_layer::{Cipher, Embedding};
use zeroize::Zeroizing;

use crate::lab::{GZIP, LEN, Lab, Layer};

/// What holders would release, by element.
type Vault = Arc<Mutex<Vec<(WrappedKey, Vec<u8>)>>>;

/// A key of holders: its wraps name the layer as threshold wraps do, and the secret lies in the vault.
#[derive(Clone, Debug, Default)]
struct HeldKey(Vault);

impl Recipient for HeldKey {
    fn scheme(&self) -> Scheme {
        Scheme::sealift()
    }

    fn fingerprint(&self) -> String {
        "held".into()
    }

    fn wrap_key(
        &self,
        secret: &LayerSecret,
        context: &WrapContext<'_>,
    ) -> Result<WrappedKey, WrapError> {
        let subject = context.subject.unwrap().as_bytes();
        let mut label =
            b"\xaa\x01\x01\x02\x64TDH2\x03\x67default\x04\x01\x05\x61r\x06\x82\x04\x58\x20"
                .to_vec();
        label.extend(
            subject
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()),
        );
        let mut element = b"SLW1\x01".to_vec();
        element.extend(u16::try_from(label.len()).unwrap().to_be_bytes());
        element.extend(label);
        let wrapped = WrappedKey {
            scheme: Scheme::sealift(),
            element,
        };
        let released = (wrapped.clone(), secret.expose().to_vec());
        self.0.lock().unwrap().push(released);
        Ok(wrapped)
    }
}

impl HeldKey {
    fn seal(&self, len: u32) -> Layer {
        Layer::seal_for(
            Box::new(self.clone()),
            Cipher::Chunked,
            Embedding::AnnotationsAndHeader,
            GZIP,
            len,
        )
    }

    /// What honest holders say to a question.
    fn reply(&self, asked: &Unwrap) -> Reply {
        let vault = self.0.lock().unwrap();
        let released = vault.iter().find(|(wrapped, _)| *wrapped == asked.wanted.0);
        Reply::Secret(Secret(Zeroizing::new(released.unwrap().1.clone())))
    }
}

/// An agent that answers one question as it is told, and hands back what it was asked.
struct FakeAgent {
    socket: PathBuf,
    asked: JoinHandle<Unwrap>,
}

impl FakeAgent {
    fn new(lab: &Lab, answer: impl FnOnce(&Unwrap) -> Vec<u8> + Send + 'static) -> Self {
        let socket = lab.path("agent.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let question = read_frame(&mut stream, MAX_QUESTION_LEN).unwrap();
            let Ask::Unwrap(asked) = Question::parse(&question).unwrap().ask else {
                panic!("not asked for a key");
            };
            stream.write_all(&answer(&asked)).unwrap();
            asked
        });
        Self { socket, asked }
    }

    fn replying(lab: &Lab, reply: impl FnOnce(&Unwrap) -> Reply + Send + 'static) -> Self {
        Self::new(lab, |asked| framed(reply(asked)))
    }
}

fn framed(reply: Reply) -> Vec<u8> {
    let answer = Answer {
        v: 1,
        node: "tokyo-7".into(),
        reply,
    };
    frame(&answer, MAX_ANSWER_LEN).unwrap().to_vec()
}

#[test]
fn the_agent_opens_what_no_key_at_hand_does_and_hears_of_the_whole_image() {
    let key = HeldKey::default();
    let layers = [key.seal(LEN), key.seal(1000), key.seal(2000)];
    let lab = Lab::new(&["rsa.pem"]);
    lab.store_manifest(&layers.each_ref().map(Layer::descriptor));
    // Somebody else's image.
    lab.store_manifest(&[HeldKey::default().seal(3000).descriptor()]);
    let [layer, ..] = &layers;
    let agent = FakeAgent::replying(&lab, {
        let key = key.clone();
        move |asked| key.reply(asked)
    });
    let run = lab
        .decoder()
        .argument("--agent")
        .argument(&agent.socket)
        .run(&layer.blob);
    run.opened(&layer.plain);
    let asked = agent.asked.join().unwrap();
    let elements: Vec<_> = key
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|(wrapped, _)| wrapped.clone())
        .collect();
    assert_eq!(asked.wanted.0, elements[0]);
    let siblings: Vec<_> = asked
        .siblings
        .into_iter()
        .map(|element| element.0)
        .collect();
    assert_eq!(siblings, elements[1..]);
}

#[test]
fn the_environment_may_name_the_agent() {
    let key = HeldKey::default();
    let layer = key.seal(LEN);
    let lab = Lab::new(&[]);
    let agent = FakeAgent::replying(&lab, move |asked| key.reply(asked));
    let decoder = lab.decoder().environment("SEALIFT_AGENT", &agent.socket);
    decoder.run(&layer.blob).opened(&layer.plain);
    assert_eq!(agent.asked.join().unwrap().siblings.len(), 0);
}

#[test]
fn a_denial_says_who_denied_what_to_which_node() {
    let layer = HeldKey::default().seal(LEN);
    let lab = Lab::new(&["rsa.pem"]);
    // The same wrapped key once more; the agent answers once.
    lab.store_manifest(&[layer.descriptor()]);
    let agent = FakeAgent::replying(&lab, |_| {
        Reply::Refused(Refusal::Denied {
            by: "fra".into(),
            code: "Forbidden".into(),
        })
    });
    let run = lab
        .decoder()
        .argument("--agent")
        .argument(&agent.socket)
        .run(&layer.blob);
    let texts = [
        "denied by key holder `fra`: Forbidden (node tokyo-7)",
        "hint: ask the operators of the key holders",
    ];
    run.refused(6, &texts, b"");
    agent.asked.join().unwrap();
}

#[test]
fn an_agent_that_is_not_there_or_goes_away_opens_nothing() {
    let layer = HeldKey::default().seal(LEN);
    let lab = Lab::new(&["rsa.pem"]);
    let absent = lab.path("none.sock");
    let run = lab
        .decoder()
        .argument("--agent")
        .argument(&absent)
        .run(&layer.blob);
    let texts = [
        "key holders unavailable: no agent at",
        "`sealift agent status`",
    ];
    run.refused(5, &texts, b"");

    let agent = FakeAgent::new(&lab, |_| b"\0\0\x01\0{\"v\":1,\"node\"".to_vec());
    let run = lab
        .decoder()
        .argument("--agent")
        .argument(&agent.socket)
        .run(&layer.blob);
    run.refused(
        5,
        &["gave no answer: connection ended within a message"],
        b"",
    );
    agent.asked.join().unwrap();
}

#[test]
fn another_layers_secret_opens_nothing() {
    let key = HeldKey::default();
    let (layer, other) = (key.seal(LEN), HeldKey::default());
    other.seal(LEN);
    let secret = other.0.lock().unwrap()[0].1.clone();
    let lab = Lab::new(&[]);
    let agent = FakeAgent::replying(&lab, |_| Reply::Secret(Secret(Zeroizing::new(secret))));
    let run = lab
        .decoder()
        .argument("--agent")
        .argument(&agent.socket)
        .run(&layer.blob);
    run.refused(4, &["layer failed authentication"], b"");
    agent.asked.join().unwrap();
}

#[test]
fn a_wrap_of_another_layer_is_not_asked_for() {
    let key = HeldKey::default();
    let other = key.seal(1000);
    let layer = Layer::not_embedded();
    let lab = Lab::new(&[]);
    // This layer, said to have the other's wrapped key.
    let name = "org.opencontainers.image.enc.keys.provider.sealift";
    let mut descriptor = layer.descriptor();
    descriptor["annotations"][name] = other.descriptor()["annotations"][name].clone();
    lab.store_manifest(&[descriptor]);
    // Nobody listens there: asking would say so, with another exit code.
    let run = lab
        .decoder()
        .argument("--agent")
        .argument(lab.path("none.sock"))
        .run(&layer.blob);
    run.refused(3, &["its label names something else"], b"");
}

#[test]
fn keys_at_hand_are_tried_before_the_agent() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    let run = lab
        .decoder()
        .argument("--agent")
        .argument(lab.path("none.sock"))
        .run(&layer.blob);
    run.opened(&layer.plain);
}
