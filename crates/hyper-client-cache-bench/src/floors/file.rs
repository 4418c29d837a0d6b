//! The floor of a hit in files: one file is read on a thread of the blocking pool, and a response built from it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Request;
use http_body_util::{Empty, Full};

use super::message::{pack, unpack};
use crate::client::{Client, HttpBody};
use crate::{Result, origin};

/// A folder with a file for each URL, called by the URL's last segment.
pub(crate) struct Files {
    folder: PathBuf,
}

impl Files {
    /// A folder that holds what the origin would answer for `urls`: `size` bytes each.
    pub(crate) fn filled(folder: &Path, urls: &[String], size: usize) -> Result<Self> {
        let files = Self { folder: folder.to_owned() };
        let message = pack(&origin::whole_headers(size), &origin::json(size));
        for url in urls {
            std::fs::write(files.path(url), &message)?;
        }
        Ok(files)
    }

    fn path(&self, url: &str) -> PathBuf {
        self.folder.join(url.rsplit('/').next().unwrap_or_default())
    }
}

impl Client for Files {
    type Body = HttpBody<Full<Bytes>>;

    async fn send(&self, url: &str) -> Result<Self::Body> {
        let request = Request::get(url).body(Empty::<Bytes>::new())?;
        let path = self.path(request.uri().path());
        let message = tokio::task::spawn_blocking(move || std::fs::read(path)).await??;
        Ok(HttpBody(unpack(&message.into())?.into_body()))
    }
}
