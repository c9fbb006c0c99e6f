//! Who has no token has no body read, and sends no node to another.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Cluster;

/// The bodies never come, whichever node would have to be asked.
pub async fn who_has_no_token_is_refused_from_the_head_alone(cluster: &Cluster) {
    let users = format!("/v1/tenants/{}/users", cluster.tenant().slug);
    for node in cluster.nodes() {
        let address = node.admin_url.strip_prefix("http://").unwrap();
        for path in [users.as_str(), "/v1/tenants", "/v1/partitions/1/transfer-leader"] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer nobody\r\n\
                 content-type: application/json\r\ncontent-length: 10\r\n\r\n"
            );
            let mut connection = TcpStream::connect(address).await.unwrap();
            connection.write_all(head.as_bytes()).await.unwrap();
            let mut status_line = [0_u8; 12];
            connection.read_exact(&mut status_line).await.unwrap();
            assert_eq!(&status_line, b"HTTP/1.1 401", "{path} at node {}", node.id);
        }
    }
}
