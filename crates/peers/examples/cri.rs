//! Pulls an image over CRI, as a kubelet does, and runs it in a pod of its own.
//!
//! usage: cri SOCKET LOG-FOLDER pull|run REFERENCE
//!
//! There is no CRI client in Debian bookworm; `scripts/demo` uses this one.

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use std::io::Write as _;
    use std::path::Path;
    use std::process::ExitCode;

    use sealift_peers::cri::Cri;

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, pods, action, reference] = arguments.as_slice() else {
        let _ = writeln!(
            std::io::stderr(),
            "usage: cri SOCKET LOG-FOLDER pull|run REFERENCE"
        );
        return ExitCode::from(2);
    };
    let mut cri = Cri::connect(Path::new(socket), Path::new(pods));
    let (code, text) = match action.as_str() {
        "run" => cri.run(reference),
        _ => match cri.pull(reference) {
            Ok(image) => (0, image),
            Err(said) => (1, said),
        },
    };
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    if code == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {}
