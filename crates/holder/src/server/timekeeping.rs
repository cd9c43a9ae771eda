//! Whether this machine's clock is right, as NTP servers tell (RFC 5905): a holder that does not know the time does not
//! know which certificates and statements are young enough.
//!
//! NTP as it is spoken here is not authenticated. Who controls the way to the servers can make a holder refuse, and can hide
//! that a clock is wrong from whoever has no better reason to doubt it; it cannot set the clock.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rsntp::{AsyncSntpClient, Config, SynchronizationError};
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::interval;

use super::stopped;

/// What is known of the own clock.
#[derive(Debug)]
pub struct Timekeeping {
    servers: Vec<String>,
    latest: Mutex<Option<(Instant, Offset)>>,
}

/// How far NTP's time is ahead of ours, in milliseconds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Offset(i64);

/// Why the clock is not trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Doubt {
    /// No server has answered for longer than [`Timekeeping::MAX_AGE`], or at all.
    Unknown,
    /// It is off by more than [`Timekeeping::MAX_OFFSET`].
    Off(Offset),
}

impl Timekeeping {
    /// How far off the clock may be.
    pub const MAX_OFFSET: Duration = Duration::from_secs(1);
    /// How long an answer counts.
    pub const MAX_AGE: Duration = Duration::from_secs(600);
    /// How often servers are asked.
    pub const EVERY: Duration = Duration::from_secs(60);

    /// Takes servers, `HOST[:PORT]`; without any the clock is never doubted.
    pub const fn new(servers: Vec<String>) -> Self {
        Self {
            servers,
            latest: Mutex::new(None),
        }
    }

    /// Returns why releases must be refused now, if so.
    pub fn doubt(&self, now: Instant) -> Option<Doubt> {
        if self.servers.is_empty() {
            return None;
        }
        let latest = *self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match latest {
            Some((at, offset)) if now.saturating_duration_since(at) <= Self::MAX_AGE => {
                let off = u128::from(offset.0.unsigned_abs()) > Self::MAX_OFFSET.as_millis();
                off.then_some(Doubt::Off(offset))
            }
            _ => Some(Doubt::Unknown),
        }
    }

    /// Asks the servers now; the middle one of their answers counts.
    pub async fn ask(&self) {
        let answers = self.servers.iter().map(|server| offset(server));
        let mut offsets = Vec::new();
        for (server, answer) in self
            .servers
            .iter()
            .zip(futures_util::future::join_all(answers).await)
        {
            match answer {
                Ok(offset) => offsets.push(offset),
                Err(error) => tracing::warn!(server, %error, "no time from an NTP server"),
            }
        }
        offsets.sort_unstable();
        if let Some(middle) = offsets.get(offsets.len() / 2) {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            *latest = Some((Instant::now(), *middle));
        }
    }

    /// Asks the servers again and again.
    pub(super) async fn follow(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        if self.servers.is_empty() {
            return;
        }
        let mut ticks = interval(Self::EVERY);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.ask().await,
                () = stopped(&mut stop) => return,
            }
            if let Some(doubt) = self.doubt(Instant::now()) {
                tracing::error!(%doubt, "nothing is released: the clock is not trusted");
            }
        }
    }
}

/// Asks one server.
async fn offset(server: &str) -> Result<Offset, SynchronizationError> {
    let named = lookup_host(server).await;
    let mut addresses = match named {
        Ok(addresses) => addresses.collect::<Vec<_>>().into_iter(),
        // Without a port it is not an address yet.
        Err(_) => lookup_host((server, PORT))
            .await?
            .collect::<Vec<_>>()
            .into_iter(),
    };
    let address = addresses
        .next()
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let config = Config::default()
        .bind_address((any, 0).into())
        .timeout(PATIENCE);
    let answer = AsyncSntpClient::with_config(config)
        .synchronize(address)
        .await?;
    let offset = answer.clock_offset();
    // What does not fit a duration is far off in any case.
    let by = offset.abs_as_std_duration().unwrap_or(Duration::MAX);
    let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Ok(Offset(if offset.signum() < 0 { -by } else { by }))
}

/// How long a server may take; half of it is the most by which an answer misjudges the offset.
const PATIENCE: Duration = Duration::from_secs(1);
const PORT: u16 = 123;

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no NTP server has answered for ten minutes"),
            Self::Off(Offset(ms)) if *ms < 0 => {
                write!(f, "the clock is {} ms ahead of NTP", ms.unsigned_abs())
            }
            Self::Off(Offset(ms)) => write!(f, "the clock is {ms} ms behind NTP"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use tokio::net::UdpSocket;

    use super::*;

    /// A server whose clock is ahead of this machine's by so many seconds; answers as RFC 5905, section 7.3 has it.
    async fn server(ahead: i64) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let mut packet = [0; 48];
            while let Ok((48, from)) = socket.recv_from(&mut packet).await {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                let seconds = now.as_secs().cast_signed() + 2_208_988_800 + ahead;
                let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
                let mut time = [0; 8];
                time[..4].copy_from_slice(&seconds.to_be_bytes()[4..]);
                time[4..].copy_from_slice(&fraction.to_be_bytes()[4..]);
                let asked: [u8; 8] = packet[40..48].try_into().unwrap();
                packet = [0; 48];
                (packet[0], packet[1]) = (0x24, 1);
                packet[12..16].copy_from_slice(b"TEST");
                packet[16..24].copy_from_slice(&time);
                packet[24..32].copy_from_slice(&asked);
                packet[32..40].copy_from_slice(&time);
                packet[40..48].copy_from_slice(&time);
                socket.send_to(&packet, from).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_clock_that_is_right_is_not_doubted() {
        let timekeeping = Timekeeping::new(vec![server(0).await]);
        assert_eq!(timekeeping.doubt(Instant::now()), Some(Doubt::Unknown));
        timekeeping.ask().await;
        assert_eq!(timekeeping.doubt(Instant::now()), None);
    }

    #[tokio::test]
    async fn a_clock_that_is_off_is_doubted_in_either_direction() {
        for (ahead, words) in [(5, "behind NTP"), (-5, "ahead of NTP")] {
            let timekeeping = Timekeeping::new(vec![server(ahead).await]);
            timekeeping.ask().await;
            let doubt = timekeeping.doubt(Instant::now()).unwrap().to_string();
            assert!(doubt.contains(words), "{doubt}");
        }
    }

    #[tokio::test]
    async fn one_wrong_server_of_three_is_outvoted() {
        let servers = vec![server(900).await, server(0).await, server(0).await];
        let timekeeping = Timekeeping::new(servers);
        timekeeping.ask().await;
        assert_eq!(timekeeping.doubt(Instant::now()), None);
    }

    #[tokio::test]
    async fn an_old_answer_does_not_count() {
        let timekeeping = Timekeeping::new(vec![server(0).await]);
        timekeeping.ask().await;
        let later = Instant::now() + Timekeeping::MAX_AGE + Duration::from_secs(1);
        assert_eq!(timekeeping.doubt(later), Some(Doubt::Unknown));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_changes_nothing() {
        let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let timekeeping = Timekeeping::new(vec![gone.local_addr().unwrap().to_string()]);
        drop(gone);
        timekeeping.ask().await;
        assert_eq!(timekeeping.doubt(Instant::now()), Some(Doubt::Unknown));
    }

    #[test]
    fn without_servers_nothing_is_doubted() {
        assert_eq!(Timekeeping::new(Vec::new()).doubt(Instant::now()), None);
    }
}
