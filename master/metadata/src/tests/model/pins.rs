//! Pins in the naive tree.

use forebay_types::ErrorKind;

use super::{Body, Directory, Model, Outcome, parts};

impl Model {
    /// Whether a pin keeps what is known of a directory.
    pub(super) fn keeps(&mut self, path: &[&str]) -> bool {
        let above = (1..=path.len()).any(|end| self.pinned(&path[..end]).is_some_and(|pinned| *pinned));
        let holds = |directory: &mut Directory| {
            let is_held = |body: &Body| !matches!(body, Body::Directory(_));
            directory.children.values().any(|node| node.pinned && is_held(&node.body))
        };
        self.root_pinned || above || self.root.at(path).is_some_and(holds)
    }

    fn pinned(&mut self, path: &[&str]) -> Option<&mut bool> {
        let Some((last, above)) = path.split_last() else { return Some(&mut self.root_pinned) };
        self.root.at(above)?.children.get_mut(*last).map(|node| &mut node.pinned)
    }

    pub(in super::super) fn pin(&mut self, at: &str) -> Outcome {
        *self.pinned(&parts(at)).ok_or(ErrorKind::NotFound)? = true;
        Ok(())
    }

    pub(in super::super) fn unpin(&mut self, at: &str) -> Outcome {
        match self.pinned(&parts(at)) {
            Some(pinned) if *pinned => {
                *pinned = false;
                Ok(())
            }
            _ => Err(ErrorKind::NotFound),
        }
    }

    pub(in super::super) fn pins(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.root_pinned {
            found.push("/".to_owned());
        }
        add_pins(&self.root, "", &mut found);
        found.sort();
        found
    }
}

fn add_pins(directory: &Directory, path: &str, found: &mut Vec<String>) {
    for (name, node) in &directory.children {
        let path = format!("{path}/{name}");
        if node.pinned {
            found.push(path.clone());
        }
        if let Body::Directory(directory) = &node.body {
            add_pins(directory, &path, found);
        }
    }
}
