//! What the errors of a file system mean.

use std::io;
use std::path::Path;

use crate::publish::{Class, Failure, Reason};

/// The one table of what the file system's errors ask for.
pub(super) fn failure(path: &Path, error: &io::Error) -> Failure {
    let (class, reason) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (Class::Retry, Reason::DiskFull)
        }
        io::ErrorKind::FileTooLarge | io::ErrorKind::ReadOnlyFilesystem => {
            (Class::Operator, Reason::Io)
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ResourceBusy => {
            (Class::Operator, Reason::Unauthorized)
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            (Class::Operator, Reason::UnknownDestination)
        }
        _ => (Class::Retry, Reason::Io),
    };
    Failure {
        class,
        reason,
        detail: format!("{}: {error}", path.display()),
    }
}
