//! Follows the changes as client/src/feed.rs does: one question after the other, and nobody is relied on who is late.

use std::rc::Rc;
use std::time::Duration;

use forebay_proto::{FeedPosition, Followed, News};
use futures::future::{Either, select};

use super::Client;
use crate::limits::{ANSWER_DEADLINE, FOLLOW_PAUSE, FOLLOW_SILENCE, FOLLOW_VOUCHES, FOLLOW_WAIT};
use crate::network::NoAnswer;
use crate::plan::Planted;
use crate::world::World;

/// Follows for as long as the client lives.
pub(super) async fn follow(world: &Rc<World>, client: &Client) {
    let mut after = None;
    loop {
        let (asked, begun) = (client.now(world), world.now());
        match ask_or_lose(world, client, after).await {
            Ok(followed) => {
                let is_empty = followed.news == News::Changes(Vec::new());
                after = Some(take(world, client, followed, asked, after.is_none()));
                if is_empty && world.now() - begun < FOLLOW_WAIT / 2 {
                    world.sleep(FOLLOW_PAUSE).await;
                }
            }
            Err(NoAnswer) => sleep_or_lose(world, client, FOLLOW_PAUSE).await,
        }
    }
}

fn take(
    world: &World,
    client: &Client,
    followed: Followed,
    asked: std::time::Instant,
    is_first: bool,
) -> FeedPosition {
    let Followed { position, news, .. } = followed;
    let now = client.now(world);
    if news != News::Changes(Vec::new()) {
        world.note(format_args!("{} hears up to {}: {news:?}", client.name(), position.index));
    }
    let is_deaf = world.plan.planted == Some(Planted::ClientIgnoresNews);
    let news = if is_deaf { News::Changes(Vec::new()) } else { news };
    if is_first {
        client.grants.begin(asked, FOLLOW_VOUCHES, now);
    } else {
        client.grants.heard(&news, asked, FOLLOW_VOUCHES, now);
    }
    position
}

async fn ask_or_lose(
    world: &Rc<World>,
    client: &Client,
    after: Option<FeedPosition>,
) -> Result<Followed, NoAnswer> {
    let ask = client.ask_within(world, (ANSWER_DEADLINE, FOLLOW_SILENCE), move |world, master| {
        Box::pin(async move { master.follow(&world, after, FOLLOW_WAIT).await })
    });
    let mut ask = std::pin::pin!(ask);
    loop {
        match select(ask.as_mut(), std::pin::pin!(until_lost(world, client))).await {
            Either::Left((answer, _)) => return answer.map_err(|_| NoAnswer),
            Either::Right(((), _)) => lose(world, client),
        }
    }
}

async fn sleep_or_lose(world: &Rc<World>, client: &Client, pause: Duration) {
    let mut sleep = world.sleep(pause);
    loop {
        match select(&mut sleep, std::pin::pin!(until_lost(world, client))).await {
            Either::Left(_) => return,
            Either::Right(((), _)) => lose(world, client),
        }
    }
}

/// Waits until nobody vouches any more, or for ever where nobody does.
async fn until_lost(world: &Rc<World>, client: &Client) {
    match client.grants.vouched_until() {
        Some(until) => world.sleep(until.saturating_duration_since(client.now(world))).await,
        None => std::future::pending().await,
    }
}

fn lose(world: &World, client: &Client) {
    world.note(format_args!("{} hears nothing in time", client.name()));
    client.grants.end();
}
