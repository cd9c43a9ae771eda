//! Pipes with names, offered as containerd offers them on Windows: to one client, once.

use std::process::id;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::windows::named_pipe::{NamedPipeServer, ServerOptions};

use crate::lab::{Lab, Layer, any};

/// Offers a pipe that says `payload` to its one client; returns its name.
pub(crate) fn offer(payload: Vec<u8>) -> String {
    serve(new_name(), Duration::ZERO, payload).0
}

fn new_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(r"\\.\pipe\containerd-processor-{}-{number}-pipe", id())
}

/// The same after a while; also returns what tells that the client took everything.
fn serve(name: String, after: Duration, payload: Vec<u8>) -> (String, Receiver<bool>) {
    let (ready, is_ready) = mpsc::channel();
    let (done, is_done) = mpsc::channel();
    let own = name.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            if !after.is_zero() {
                ready.send(()).unwrap();
                thread::sleep(after);
            }
            let mut pipe = open(&own);
            let _ = ready.send(());
            pipe.connect().await.unwrap();
            let taken = pipe.write_all(&payload).await.is_ok() && pipe.flush().await.is_ok();
            let _ = done.send(taken);
        });
    });
    is_ready.recv().unwrap();
    (name, is_done)
}

fn open(name: &str) -> NamedPipeServer {
    ServerOptions::new()
        .first_pipe_instance(true)
        .access_inbound(false)
        .create(name)
        .unwrap()
}

/// What Kubernetes' pulls send.
fn payload(layer: &Layer) -> Vec<u8> {
    let json = serde_json::json!({
        "DecryptConfig": {"Parameters": null},
        "Descriptor": layer.descriptor(),
    });
    any(&serde_json::to_vec(&json).unwrap())
}

#[test]
fn a_pipe_that_nobody_needs_is_connected_all_the_same() {
    let layer = Layer::chunked();
    let (name, taken) = serve(new_name(), Duration::ZERO, payload(&layer));
    let lab = Lab::new(&["rsa.pem"]);
    let decoder = lab.decoder().environment("STREAM_PROCESSOR_PIPE", name);
    decoder.run(&layer.blob).opened(&layer.plain);
    assert!(taken.recv_timeout(Duration::from_secs(60)).unwrap());
}

#[test]
fn a_pipe_that_comes_late_is_waited_for() {
    let layer = Layer::not_embedded();
    let (name, _) = serve(new_name(), Duration::from_millis(400), payload(&layer));
    let lab = Lab::new(&["rsa.pem"]);
    let decoder = lab.decoder().environment("STREAM_PROCESSOR_PIPE", name);
    decoder.run(&layer.blob).opened(&layer.plain);
}

#[test]
fn a_pipe_that_never_comes_or_is_none_is_refused() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    let refused = |name: &str, text: &str| {
        let decoder = lab.decoder().environment("STREAM_PROCESSOR_PIPE", name);
        let run = decoder.run(&layer.blob);
        run.refused(1, &["payload", text], &layer.plain);
        assert!(run.stdout.is_empty());
    };
    refused(&new_name(), "os error 2");
    refused(
        r"C:\windows\win.ini",
        "does not name a pipe of this machine",
    );
}

#[test]
fn a_pipe_that_says_nothing_is_refused() {
    let layer = Layer::chunked();
    let lab = Lab::new(&["rsa.pem"]);
    let decoder = lab
        .decoder()
        .environment("STREAM_PROCESSOR_PIPE", offer(Vec::new()));
    let run = decoder.run(&layer.blob);
    run.refused(1, &["closed without a payload"], &layer.plain);
    // It is open, and its server has nothing to say.
    let silent = new_name();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let pipe = runtime.block_on(async { open(&silent) });
    let decoder = lab.decoder().environment("STREAM_PROCESSOR_PIPE", silent);
    let run = decoder.run(&layer.blob);
    run.refused(1, &["says nothing"], &layer.plain);
    drop(pipe);
}

#[test]
fn a_payload_without_end_is_refused() {
    let layer = Layer::not_embedded();
    let lab = Lab::new(&["rsa.pem"]);
    let (name, taken) = serve(new_name(), Duration::ZERO, vec![b'x'; 100 << 20]);
    let decoder = lab.decoder().environment("STREAM_PROCESSOR_PIPE", name);
    let run = decoder.run(&layer.blob);
    assert_ne!(run.code, Some(0));
    assert!(run.stdout.is_empty());
    assert!(taken.recv_timeout(Duration::from_secs(60)).unwrap());
}
