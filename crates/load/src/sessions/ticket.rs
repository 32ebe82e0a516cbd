//! Tickets from the portal, asked for by many at once.

use std::time::Duration;

use gibbon_control::{
    client::Portal,
    portal::{SessionRequest, SessionTicket},
};
use tokio::sync::Semaphore;

/// A session that is refused asks again, so often …
const MAX_TRIES: u32 = 5;
/// … and after this long, twice as long each time.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Asks for a session, when it is its turn. The answer of the last try counts.
pub async fn ask(
    portal: &Portal,
    turns: &Semaphore,
    request: &SessionRequest,
) -> anyhow::Result<SessionTicket> {
    let mut tries = 0;
    loop {
        let answer = {
            let _turn = turns.acquire().await?;
            let (portal, request) = (portal.clone(), request.clone());
            tokio::task::spawn_blocking(move || portal.create_session(&request)).await?
        };
        tries += 1;
        match answer {
            Err(error) if tries < MAX_TRIES => {
                tracing::debug!(%error, tries, "the portal refuses a session");
                let wait = AGAIN_AFTER * 2u32.pow(tries - 1);
                tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..=1.0))).await;
            }
            answer => return answer,
        }
    }
}
