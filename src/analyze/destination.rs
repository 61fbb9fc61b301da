//! Where the output goes: standard output, or a file that is there whole or not at all.
//!
//! Never leaves a half-written file behind under the name that was asked for.

use std::{
    env,
    fs::{self, File, Permissions},
    io::{self, BufWriter, IsTerminal as _, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// An open place for the output. What is written counts once [`finish`](Self::finish) has been
/// called.
#[derive(Debug)]
pub struct Destination {
    to: BufWriter<Place>,
    /// `None` for standard output.
    name: Option<PathBuf>,
}

#[derive(Debug)]
enum Place {
    Stdout(io::Stdout),
    /// A device, a pipe: what cannot be replaced and is written as it is.
    Special(File),
    /// A temporary file beside the path that it goes to.
    Replaced(NamedTempFile, PathBuf),
}

impl Destination {
    /// Standard output, or the file that `out` names.
    ///
    /// # Errors
    ///
    /// If no file can be made there.
    pub fn open(out: Option<&Path>) -> Result<Self, DestinationError> {
        let place = match out {
            None => Ok(Place::Stdout(io::stdout())),
            Some(path) => Place::open(path),
        };
        let name = out.map(Path::to_path_buf);
        match place {
            Ok(place) => Ok(Self { to: BufWriter::with_capacity(BUFFER, place), name }),
            Err(source) => Err(DestinationError { name, source }),
        }
    }

    /// Whether colours belong there: on a terminal, if `NO_COLOR` does not say otherwise.
    #[must_use]
    pub fn has_colours(&self) -> bool {
        let is_refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        !is_refused && matches!(self.to.get_ref(), Place::Stdout(to) if to.is_terminal())
    }

    /// Has `write` write all there is, and makes it count. That nobody reads standard output any
    /// more is no error: whoever closed it had enough.
    ///
    /// # Errors
    ///
    /// If something could not be written; a file of that name then is as it was before.
    pub fn finish(
        self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), DestinationError> {
        let Self { mut to, name } = self;
        let written = write(&mut to).and_then(|()| to.flush());
        let place = to.into_parts().0;
        let is_closed = |error: &io::Error| {
            matches!(place, Place::Stdout(_)) && error.kind() == io::ErrorKind::BrokenPipe
        };
        match written {
            Err(error) if is_closed(&error) => Ok(()),
            Err(source) => Err(DestinationError { name, source }),
            Ok(()) => place.keep().map_err(|source| DestinationError { name, source }),
        }
    }
}

impl Place {
    fn open(path: &Path) -> io::Result<Self> {
        // What a link leads to is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return File::options().write(true).open(&path).map(Self::Special);
        }
        let beside = match path.parent() {
            Some(directory) if directory != Path::new("") => directory,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".voxplane-")
            .permissions(Permissions::from_mode(NEW_FILE_MODE))
            .tempfile_in(beside)?;
        Ok(Self::Replaced(file, path))
    }

    fn keep(self) -> io::Result<()> {
        match self {
            Self::Stdout(_) | Self::Special(_) => Ok(()),
            Self::Replaced(file, path) => {
                file.persist(path).map_err(|error| error.error)?;
                Ok(())
            }
        }
    }
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(to) => to.write(bytes),
            Self::Special(to) => to.write(bytes),
            Self::Replaced(to, _) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(to) => to.flush(),
            Self::Special(to) => to.flush(),
            Self::Replaced(to, _) => to.flush(),
        }
    }
}

/// The output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", name.as_deref().map_or_else(
    || "standard output".to_owned(),
    |name| name.display().to_string(),
))]
pub struct DestinationError {
    /// The file; `None` for standard output.
    pub name: Option<PathBuf>,
    /// What the system says.
    pub source: io::Error,
}

/// Octets written at a time.
const BUFFER: usize = 64 * 1024;

/// As `open(2)` makes files that say nothing else; the umask takes from it.
const NEW_FILE_MODE: u32 = 0o666;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.json");
        fs::write(&path, "old").unwrap();
        let to = Destination::open(Some(&path)).unwrap();
        assert!(!to.has_colours());
        to.finish(|to| {
            to.write_all(b"new")?;
            to.flush()?;
            assert_eq!(fs::read_to_string(&path)?, "old");
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(directory.path()), ["out.json"]);
    }

    #[test]
    fn what_fails_leaves_the_file_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.json");
        fs::write(&path, "old").unwrap();
        let to = Destination::open(Some(&path)).unwrap();
        let error = to
            .finish(|to| {
                to.write_all(b"half")?;
                Err(io::ErrorKind::StorageFull.into())
            })
            .unwrap_err();
        assert!(error.to_string().contains("out.json"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(directory.path()), ["out.json"]);
    }

    #[test]
    fn a_link_stays_and_a_device_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        Destination::open(Some(&link)).unwrap().finish(|to| to.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

        let null = Path::new("/dev/null");
        let to = Destination::open(Some(null)).unwrap();
        assert!(matches!(to.to.get_ref(), Place::Special(_)));
        to.finish(|to| to.write_all(b"gone")).unwrap();
        let full = Destination::open(Some(Path::new("/dev/full"))).unwrap();
        let error = full.finish(|to| to.write_all(b"no room")).unwrap_err();
        assert!(error.to_string().starts_with("cannot write /dev/full: "), "{error}");
    }

    #[test]
    fn a_place_that_is_not_there_is_named() {
        let error = Destination::open(Some(Path::new("/no/such/place"))).unwrap_err();
        assert!(error.to_string().starts_with("cannot write /no/such/place: "), "{error}");
    }
}
