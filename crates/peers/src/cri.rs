//! A client of the Kubernetes Container Runtime Interface: as much of a kubelet as a test needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::{
    ContainerConfig, ContainerMetadata, ContainerState, ContainerStatusRequest,
    CreateContainerRequest, ImageSpec, LinuxPodSandboxConfig, LinuxSandboxSecurityContext,
    NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata, PullImageRequest,
    RemovePodSandboxRequest, RunPodSandboxRequest, StartContainerRequest, StopPodSandboxRequest,
};
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

/// A connection to the CRI service of a containerd.
#[derive(Debug)]
pub struct Cri {
    runtime: Runtime,
    images: ImageServiceClient<Channel>,
    containers: RuntimeServiceClient<Channel>,
    pods: PathBuf,
}

impl Cri {
    /// Connects to a socket; the logs of pods go below `pods`.
    #[track_caller]
    pub fn connect(socket: &Path, pods: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
        let channel = runtime.block_on(endpoint.connect()).unwrap();
        Self {
            runtime,
            images: ImageServiceClient::new(channel.clone()),
            containers: RuntimeServiceClient::new(channel),
            pods: pods.to_owned(),
        }
    }

    /// Pulls an image and returns the name under which the runtime knows it, or what the runtime says is wrong.
    pub fn pull(&mut self, reference: &str) -> Result<String, String> {
        let request = PullImageRequest {
            image: Some(image(reference)),
            ..Default::default()
        };
        let answer = self.runtime.block_on(self.images.pull_image(request));
        match answer {
            Ok(answer) => Ok(answer.into_inner().image_ref),
            Err(status) => Err(status.message().to_owned()),
        }
    }

    /// Runs the image in a pod of its own, on the host's network, until it exits. Returns exit code and log.
    #[track_caller]
    pub fn run(&mut self, reference: &str) -> (i32, String) {
        let pod = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: "pod".into(),
                uid: "uid".into(),
                namespace: "default".into(),
                attempt: 0,
            }),
            log_directory: self.pods.display().to_string(),
            linux: Some(LinuxPodSandboxConfig {
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(NamespaceOption {
                        network: NamespaceMode::Node.into(),
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        fs::create_dir_all(&self.pods).unwrap();
        let sandbox = RunPodSandboxRequest {
            config: Some(pod.clone()),
            ..Default::default()
        };
        let sandbox = self
            .runtime
            .block_on(self.containers.run_pod_sandbox(sandbox))
            .unwrap()
            .into_inner()
            .pod_sandbox_id;
        let container = CreateContainerRequest {
            pod_sandbox_id: sandbox.clone(),
            config: Some(ContainerConfig {
                metadata: Some(ContainerMetadata {
                    name: "container".into(),
                    attempt: 0,
                }),
                image: Some(image(reference)),
                log_path: "container.log".into(),
                ..Default::default()
            }),
            sandbox_config: Some(pod),
        };
        let container = self
            .runtime
            .block_on(self.containers.create_container(container))
            .unwrap()
            .into_inner()
            .container_id;
        let start = StartContainerRequest {
            container_id: container.clone(),
        };
        self.runtime
            .block_on(self.containers.start_container(start))
            .unwrap();
        let code = self.wait(container);
        let log = fs::read_to_string(self.pods.join("container.log")).unwrap();
        self.remove(sandbox);
        (code, log)
    }

    #[track_caller]
    fn wait(&mut self, container: String) -> i32 {
        for _ in 0..600 {
            let request = ContainerStatusRequest {
                container_id: container.clone(),
                verbose: false,
            };
            let status = self
                .runtime
                .block_on(self.containers.container_status(request))
                .unwrap()
                .into_inner()
                .status
                .unwrap();
            if status.state() == ContainerState::ContainerExited {
                return status.exit_code;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("container `{container}` did not end within 30 s");
    }

    #[track_caller]
    fn remove(&mut self, pod: String) {
        let stop = StopPodSandboxRequest {
            pod_sandbox_id: pod.clone(),
        };
        let remove = RemovePodSandboxRequest {
            pod_sandbox_id: pod,
        };
        self.runtime
            .block_on(self.containers.stop_pod_sandbox(stop))
            .unwrap();
        self.runtime
            .block_on(self.containers.remove_pod_sandbox(remove))
            .unwrap();
    }
}

fn image(reference: &str) -> ImageSpec {
    ImageSpec {
        image: reference.to_owned(),
        ..Default::default()
    }
}
