//! `ipamctl lease watch`: changes as they happen.

use jiff::Timestamp;
use proto::ipam::v1::watch_response::Message;
use proto::ipam::v1::{Event, WatchRequest};

use super::list::FilterFlags;
use crate::error::CliError;
use crate::history::COLUMNS;
use crate::out::Out;
use crate::remote::Remote;

/// Shows every change once and in order, until Ctrl-C.
///
/// With -o json, each line is one object, bookmarks included: --after-revision continues at the revision of a bookmark.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ipamctl lease watch --pool blue --include-existing\n  ipamctl lease watch --after-revision 1200 -o json"
)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    filter: FilterFlags,
    /// Changes after this revision. [default: 0, from now on]
    #[arg(long, default_value_t = 0, value_name = "REVISION")]
    after_revision: u64,
    /// The store that counted --after-revision, as a bookmark in -o json names it: another store is refused.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    store_id: String,
    /// Shows the existing leases first.
    #[arg(long)]
    include_existing: bool,
    /// Ends after this many changes. [default: never]
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
}

pub(super) async fn run(args: WatchArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    // Without a deadline: it would end the stream.
    let request = WatchRequest {
        after_revision: args.after_revision,
        include_existing: args.include_existing,
        filter: args.filter.into_filter(),
        store_id: args.store_id,
    };
    let mut client = remote.leases().await?;
    let mut stream = remote.answer(client.watch(remote.stream(request))).await?;
    let mut table = out.table::<Event>(COLUMNS);
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let next = stream
            .message()
            .await
            .map_err(|status| remote.failure(&status))?;
        let Some(response) = next else {
            return Err(CliError::CutOff {
                server: remote.name().to_owned(),
                what: "the watch",
            });
        };
        let event = match &response.message {
            Some(Message::Event(event)) => Some(event),
            _ => None,
        };
        if out.is_for_programs() {
            out.item(&response)?;
        } else if let Some(event) = event {
            let text = table.page(&[event], Timestamp::now());
            out.text(&text)?;
        }
        out.flush()?;
        left -= u64::from(event.is_some());
    }
    Ok(())
}
