//! The router between the namespaces: it holds one device of each, takes the packets that leave there, and
//! writes them to the device of their destination when the link says so. It runs on a thread of its own, so
//! that a busy harness does not slow the network down.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tun_rs::{AsyncDevice, SyncDevice};

use super::Links;
use super::shaper::{Counts, Shaper};

/// Packets read and not yet given to their link, all devices together.
const WAITING_MAX: usize = 4_096;
const PACKET_MAX: usize = 2_048;

/// The address of an end. Addresses are of the loopback network, since nodes serve plain HTTP there only.
pub(super) fn address_of(end: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 77, 0, u8::try_from(end + 1).unwrap_or(u8::MAX))
}

/// Where an IPv4 packet goes.
fn destination(packet: &[u8], ends: usize) -> Option<usize> {
    if packet.len() < 20 || packet.first()? >> 4 != 4 {
        return None;
    }
    let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let end = usize::from(to[3]).checked_sub(1)?;
    (end < ends && Ipv4Addr::from(to) == address_of(end)).then_some(end)
}

/// Routes between `devices`, one for each end of the links, until the program ends.
pub(super) fn start(
    links: Links,
    devices: Vec<SyncDevice>,
    seed: u64,
    counts: Arc<Counts>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let devices: Vec<Arc<AsyncDevice>> = devices
        .into_iter()
        .map(|device| AsyncDevice::new(device).map(Arc::new))
        .collect::<Result<_, _>>()
        .context("a TUN device cannot be used")?;
    drop(entered);
    let thread = std::thread::Builder::new().name("router".to_owned());
    thread.spawn(move || {
        runtime.block_on(async move {
            let (sender, packets) = mpsc::channel(WAITING_MAX);
            for (end, device) in devices.iter().enumerate() {
                drop(tokio::spawn(read(end, device.clone(), sender.clone())));
            }
            drop(sender);
            // A packet that the other side does not take is lost, as on any network.
            let deliver = |to: usize, packet: &[u8]| {
                let _ = devices.get(to).map(|device| device.try_send(packet));
            };
            route(packets, &links, seed, &counts, deliver).await;
        });
    })?;
    Ok(())
}

async fn read(end: usize, device: Arc<AsyncDevice>, packets: mpsc::Sender<(usize, Vec<u8>)>) {
    let mut buffer = vec![0_u8; PACKET_MAX];
    loop {
        let Ok(count) = device.recv(&mut buffer).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let packet = buffer.get(..count).unwrap_or_default().to_vec();
        if packets.send((end, packet)).await.is_err() {
            return;
        }
    }
}

/// Until nobody sends any more and all has arrived.
async fn route(
    mut packets: mpsc::Receiver<(usize, Vec<u8>)>,
    links: &Links,
    seed: u64,
    counts: &Counts,
    mut deliver: impl FnMut(usize, &[u8]),
) {
    let began = Instant::now();
    let now_us = || u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut shaper = Shaper::new(seed);
    let mut open = true;
    loop {
        while let Some((to, packet)) = shaper.take(now_us()) {
            deliver(to, &packet);
        }
        let due = shaper.next_due_us().map(|due_us| began + Duration::from_micros(due_us));
        if !open && due.is_none() {
            return;
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(due.unwrap_or(began)), if due.is_some() => {}
            packet = packets.recv(), if open => match packet {
                Some((from, packet)) => {
                    let Some(to) = destination(&packet, links.ends()) else { continue };
                    let Some(link) = links.now(from, to) else { continue };
                    shaper.accept(now_us(), (from, to), link, packet, counts);
                }
                None => open = false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(to: usize, mark: u8) -> Vec<u8> {
        let mut packet = vec![0_u8; 21];
        packet[0] = 0x45;
        packet[16..20].copy_from_slice(&address_of(to).octets());
        packet[20] = mark;
        packet
    }

    #[test]
    fn only_packets_to_known_ends_are_routed() {
        assert_eq!(destination(&packet(2, 0), 3), Some(2));
        assert_eq!(destination(&packet(3, 0), 3), None);
        assert_eq!(destination(&packet(2, 0)[..19], 3), None);
        let mut six = packet(2, 0);
        six[0] = 0x60;
        assert_eq!(destination(&six, 3), None);
        let mut elsewhere = packet(2, 0);
        elsewhere[16] = 10;
        assert_eq!(destination(&elsewhere, 3), None);
    }

    /// On the paused clock: what takes 42 ms takes 42 ms, and nothing is waited for.
    #[tokio::test(start_paused = true)]
    async fn packets_arrive_when_their_link_says_so() {
        let links = Links::new(&"eu1,us1".parse().unwrap());
        links.change(0, 1, |link| link.jitter_ms = 0);
        links.cut(1, 0);
        let (sender, packets) = mpsc::channel(8);
        let began = Instant::now();
        for (from, to, mark) in [(0, 1, 1), (1, 0, 2), (2, 0, 3)] {
            sender.send((from, packet(to, mark))).await.unwrap();
        }
        drop(sender);
        let (counts, mut arrived) = (Counts::default(), Vec::new());
        let deliver = |to, packet: &[u8]| arrived.push((to, packet[20], began.elapsed().as_millis()));
        route(packets, &links, 1, &counts, deliver).await;
        assert_eq!(arrived, [(0, 3, 0), (1, 1, 42)]);
        assert_eq!(counts.cut.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}
