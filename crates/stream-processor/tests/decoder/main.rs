//! The built program, as containerd starts it.

#[cfg(test)]
#[cfg(target_os = "linux")]
mod agent;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod lab;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod providers;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod runs;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod store;
