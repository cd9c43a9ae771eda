//! The built program, as containerd starts it.

#[cfg(test)]
#[cfg(target_os = "linux")]
mod agent;
#[cfg(test)]
#[cfg(any(target_os = "linux", windows))]
mod lab;
#[cfg(test)]
#[cfg(windows)]
mod pipe;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod providers;
#[cfg(test)]
#[cfg(any(target_os = "linux", windows))]
mod runs;
#[cfg(test)]
#[cfg(any(target_os = "linux", windows))]
mod store;
