//! Which process holds the other end of a loopback connection: `/proc/net/tcp` names the socket's inode,
//! and the process has that inode among its open files.

use std::net::SocketAddr;
use std::path::Path;

/// The first of `processes` that holds the socket whose local address is `address`.
pub(super) fn owner_of(address: SocketAddr, processes: &[(usize, u32)]) -> Option<usize> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = inode_of(&table, address)?;
    let wanted = format!("socket:[{inode}]");
    processes.iter().find(|(_, process)| holds(*process, &wanted)).map(|(node, _)| *node)
}

/// The inode of the socket with this local address (IPv4, as on loopback).
fn inode_of(table: &str, address: SocketAddr) -> Option<u64> {
    let SocketAddr::V4(address) = address else { return None };
    let ip = u32::from_le_bytes(address.ip().octets());
    let wanted = format!("{ip:08X}:{:04X}", address.port());
    let line = table.lines().map(str::split_whitespace).find_map(|mut fields| {
        let local = fields.nth(1)?;
        (local == wanted).then_some(fields)
    });
    // After the local address: remote, state, queues, timers, retransmissions, user, timeout, inode.
    line?.nth(7)?.parse().ok().filter(|inode| *inode != 0)
}

fn holds(process: u32, wanted: &str) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to == Path::new(wanted)))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_process_behind_a_connection_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, from) = listener.accept().unwrap();
        let me = std::process::id();
        assert_eq!(owner_of(from, &[(4, 1), (7, me)]), Some(7));
        assert_eq!(owner_of(from, &[(4, 1)]), None);
    }
}
