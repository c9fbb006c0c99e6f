//! Which process holds the other end of a loopback connection: `/proc/net/tcp` names the socket's inode,
//! and the process has that inode among its open files.

use std::net::SocketAddr;
use std::path::Path;

/// How often the table is read: the kernel gives it in pages, and a line may be missed when others come and go between
/// two of them.
const READS: usize = 3;

/// The first of `processes` that holds the socket of a connection from its address `local` to `remote`.
pub(super) fn owner_of(local: SocketAddr, remote: SocketAddr, processes: &[(usize, u32)]) -> Option<usize> {
    let inode =
        (0..READS).find_map(|_| inode_of(&std::fs::read_to_string("/proc/net/tcp").ok()?, local, remote))?;
    let wanted = format!("socket:[{inode}]");
    processes.iter().find(|(_, process)| holds(*process, &wanted)).map(|(node, _)| *node)
}

/// The inode of the socket between these two addresses (IPv4, as on loopback).
///
/// Its own address alone would not name it: the same port may stand there for connections to others, and for closed ones
/// (state `TIME_WAIT`), which have no inode.
fn inode_of(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let (local, remote) = (in_the_table(local)?, in_the_table(remote)?);
    let line = table.lines().map(str::split_whitespace).find_map(|mut fields| {
        let found = fields.nth(1)? == local && fields.next()? == remote;
        found.then_some(fields)
    });
    // After the addresses: state, queues, timers, retransmissions, user, timeout, inode.
    line?.nth(6)?.parse().ok().filter(|inode| *inode != 0)
}

/// An address as the table writes it.
fn in_the_table(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let ip = u32::from_le_bytes(address.ip().octets());
    Some(format!("{ip:08X}:{:04X}", address.port()))
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
        let (server, from) = listener.accept().unwrap();
        let (me, to) = (std::process::id(), server.local_addr().unwrap());
        assert_eq!(owner_of(from, to, &[(4, 1), (7, me)]), Some(7));
        assert_eq!(owner_of(from, to, &[(4, 1)]), None);
    }

    #[test]
    fn another_connection_from_the_same_port_is_not_taken_for_it() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     0: 0100007F:9C40 0100007F:0050 06 00000000:00000000 03:00000F6D 00000000     0        0 0 3 x\n\
                     1: 0100007F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 4711 1 x\n";
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(inode_of(table, at(40_000), at(8080)), Some(4711));
        assert_eq!(inode_of(table, at(40_000), at(80)), None);
        assert_eq!(inode_of(table, at(8080), at(40_000)), None);
    }
}
