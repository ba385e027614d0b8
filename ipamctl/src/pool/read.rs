//! Pools as the server has them: one, or all pages of a list.

use proto::ipam::v1::{GetPoolRequest, ListPoolsRequest, Pool};

use crate::error::CliError;
use crate::remote::Remote;

/// The most pools that a server returns in one page.
const PAGE: i32 = 1000;

/// One pool.
pub(crate) async fn get(remote: &Remote, name: String) -> Result<Pool, CliError> {
    let request = remote.request(GetPoolRequest { name });
    remote.answer(remote.pools().await?.get_pool(request)).await
}

/// All pools that a filter keeps.
pub(crate) async fn all(remote: &Remote, filter: &str) -> Result<Vec<Pool>, CliError> {
    let mut client = remote.pools().await?;
    let mut pools = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = remote.request(ListPoolsRequest {
            page_size: PAGE,
            page_token,
            filter: filter.to_owned(),
        });
        let page = remote.answer(client.list_pools(request)).await?;
        pools.extend(page.pools);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(pools);
        }
    }
}
