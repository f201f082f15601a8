//! Deletes the record that Codex keeps of every conversation, together with its process. (A process that was killed before
//! it was ready leaves a record whose path the gateway does not know, but that has no conversation in it.)

use std::path::Path;

/// Deletes a record, if its name is that of a record and it lies in `home`, Codex's own folder.
pub(super) async fn delete(record: &Path, home: &Path) {
    if !is_record(record, home).await {
        tracing::warn!(record = %record.display(), "Codex keeps a record where it is not expected: it stays");
        return;
    }
    match tokio::fs::remove_file(record).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, record = %record.display(), "Codex's record of a turn cannot be deleted");
        }
        _ => {}
    }
}

async fn is_record(record: &Path, home: &Path) -> bool {
    let named = record
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("rollout-"));
    let Some(folder) = record.parent().filter(|_| named) else {
        return false;
    };
    let real = tokio::try_join!(
        tokio::fs::canonicalize(folder),
        tokio::fs::canonicalize(home.join("sessions"))
    );
    real.is_ok_and(|(folder, sessions)| folder.starts_with(sessions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_record_in_codexs_own_folder_is_deleted() {
        let home = tempfile::tempdir().unwrap();
        let day = home.path().join("sessions/2026/11/23");
        std::fs::create_dir_all(&day).unwrap();
        let make = |path: std::path::PathBuf| {
            std::fs::write(&path, "x").unwrap();
            path
        };
        let record = make(day.join("rollout-1.jsonl"));
        let others = [
            make(day.join("notes.jsonl")),
            make(home.path().join("rollout-2.jsonl")),
        ];
        let outside = home.path().join("sessions/../rollout-2.jsonl");
        delete(&record, home.path()).await;
        assert!(!record.exists());
        for other in others.iter().chain([&outside]) {
            delete(other, home.path()).await;
            assert!(other.exists(), "{other:?}");
        }
        delete(&record, home.path()).await;
    }
}
