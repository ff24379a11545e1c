//! The worker's line to the master that leads: it is found by asking, and looked for again when it is lost.

use std::future::Future;

use forebay_proto::v1::cluster_client::ClusterClient;
use forebay_proto::{WireError, transport};
use forebay_types::ErrorKind;
use forebay_types::limits::RPC_LENGTH_MAX;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::limits::MASTER_DEADLINE;

/// The masters, and the one that is asked now.
#[derive(Debug)]
pub(crate) struct MasterLink {
    masters: Vec<String>,
    position: usize,
    /// The address of the one that is asked, and the connection to it.
    current: Option<(String, ClusterClient<Channel>)>,
    /// Where the last answer said that the leader is.
    hint: Option<String>,
}

impl MasterLink {
    /// A line to one of `masters` (`host:port` each, at least one).
    pub(crate) fn new(masters: Vec<String>) -> Self {
        Self { masters, position: 0, current: None, hint: None }
    }

    /// The address of the master that is asked.
    pub(crate) fn address(&self) -> &str {
        match (&self.current, &self.hint) {
            (Some((address, _)), _) => address,
            (None, Some(hint)) => hint,
            (None, None) => self.masters.get(self.position).map_or("", String::as_str),
        }
    }

    /// Asks once. After a failure that another master may not have, the next call asks that one.
    ///
    /// Cancel safe: a dropped call leaves the line as it was.
    pub(crate) async fn call<M, T, F>(
        &mut self,
        message: M,
        ask: impl FnOnce(ClusterClient<Channel>, Request<M>) -> F,
    ) -> Result<T, WireError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let client = self.connect()?;
        let mut request = Request::new(message);
        request.set_timeout(MASTER_DEADLINE);
        let answer = tokio::time::timeout(MASTER_DEADLINE, ask(client, request)).await;
        let answer = answer.unwrap_or_else(|_| {
            let text = format!("no answer within {} s", MASTER_DEADLINE.as_secs());
            Err(forebay_proto::to_status(ErrorKind::TimedOut, text))
        });
        answer.map(Response::into_inner).map_err(|status| {
            let error = WireError::from(status);
            if error.kind.is_retryable() {
                self.turn_away(error.leader.clone());
            }
            error
        })
    }

    fn connect(&mut self) -> Result<ClusterClient<Channel>, WireError> {
        if let Some((_, client)) = &self.current {
            return Ok(client.clone());
        }
        let address = self.address().to_owned();
        let endpoint = transport::endpoint(&address).inspect_err(|_| self.turn_away(None))?;
        let channel = endpoint.connect_lazy();
        let client = ClusterClient::new(channel)
            .max_decoding_message_size(RPC_LENGTH_MAX)
            .max_encoding_message_size(RPC_LENGTH_MAX);
        self.current = Some((address, client.clone()));
        Ok(client)
    }

    /// Leaves the current master for the one that was named, or for the next of the list.
    fn turn_away(&mut self, leader: Option<String>) {
        let left = self.current.take().map(|(address, _)| address);
        self.hint = leader.filter(|leader| Some(leader) != left.as_ref());
        if self.hint.is_none() {
            self.position = (self.position + 1) % self.masters.len().max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_master_is_asked_after_one_that_is_not_there() {
        let mut link = MasterLink::new(vec!["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()]);
        assert_eq!(link.address(), "127.0.0.1:1");
        let request = forebay_proto::v1::GetClusterMapRequest { header: None };
        let error = link
            .call(request, async |mut client, request| client.get_cluster_map(request).await)
            .await
            .expect_err("nobody listens");
        assert_eq!((error.kind, link.address()), (ErrorKind::Unavailable, "127.0.0.1:2"));
    }

    #[tokio::test]
    async fn the_leader_that_an_answer_names_is_asked_next() {
        let mut link = MasterLink::new(vec!["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()]);
        let request = forebay_proto::v1::GetClusterMapRequest { header: None };
        let not_leader =
            WireError { leader: Some("127.0.0.1:7".into()), ..WireError::new(ErrorKind::NotLeader, "x") };
        let answer: Result<forebay_proto::v1::GetClusterMapResponse, _> =
            link.call(request, async move |_, _| Err(Status::from(not_leader))).await;
        assert!(answer.is_err());
        assert_eq!(link.address(), "127.0.0.1:7");
    }
}
