//! How many bytes a data directory takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::service::LocalNode;

/// Levels below the data directory that are walked; there are four.
const DEPTH_MAX: u32 = 8;

/// Between two counts.
const EVERY: Duration = Duration::from_secs(30);

/// Counts now and then until the task is dropped: a disk that hangs keeps only this waiting.
pub(crate) async fn follow(local: Arc<LocalNode>) {
    loop {
        local.data_bytes.store(bytes(local.replicas.root.clone()).await, Ordering::Relaxed);
        tokio::time::sleep(EVERY).await;
    }
}

/// Sizes of all files below `root`; what vanishes meanwhile counts for nothing.
async fn bytes(root: PathBuf) -> u64 {
    tokio::task::spawn_blocking(move || walk(&root, DEPTH_MAX)).await.unwrap_or(0)
}

fn walk(directory: &Path, depth: u32) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(metadata) if metadata.is_dir() && depth > 0 => walk(&entry.path(), depth - 1),
        Ok(_) | Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn files_count_at_every_level() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        std::fs::write(root.path().join("x"), [0; 10]).unwrap();
        std::fs::write(root.path().join("a/b/y"), [0; 5]).unwrap();
        assert_eq!(super::bytes(root.path().to_owned()).await, 15);
        assert_eq!(super::bytes(root.path().join("none")).await, 0);
    }
}
