//! A server that keeps what it is told and decides little: enough to see what the command line sends and shows.
//! It knows one free pair, 10.20.0.7 and fd00:20::7, of the pool blue.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::{Stream, stream};
use proto::ipam::v1::admin_service_server::AdminService;
use proto::ipam::v1::export_item::Item;
use proto::ipam::v1::lease_service_server::LeaseService;
use proto::ipam::v1::pool_service_server::PoolService;
use proto::ipam::v1::reservation_service_server::ReservationService;
use proto::ipam::v1::*;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

type Answer<T> = Result<Response<T>, Status>;
type Many<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) pools: BTreeMap<String, Pool>,
    pub(crate) leases: BTreeMap<String, Lease>,
    pub(crate) reservations: BTreeMap<String, Reservation>,
    pub(crate) events: Vec<Event>,
    /// Sizes of the batches of imports.
    pub(crate) batches: Vec<usize>,
    /// The last filter of a list or watch.
    pub(crate) filter: String,
    /// Ids of leases that an orphan reclaim missed once.
    pub(crate) suspects: BTreeSet<String>,
    /// The last update mask.
    pub(crate) mask: Vec<String>,
    /// An import that comes now is cut: the header promises more than comes.
    pub(crate) lie: bool,
}

/// A handle to it.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

impl Fake {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("not poisoned")
    }
}

fn refuse(code: Code, reason: &str, message: &str) -> Status {
    let details =
        ErrorDetails::with_error_info(reason, "ipam.meta-cni.io", HashMap::<String, String>::new());
    Status::with_error_details(code, message, details)
}

fn no_pool(name: &str) -> Status {
    let message = format!("pool {name} does not exist; `ipamctl pool list` shows those that do");
    refuse(Code::NotFound, "POOL_NOT_FOUND", &message)
}

fn no_lease(id: &str) -> Status {
    refuse(
        Code::NotFound,
        "LEASE_NOT_FOUND",
        &format!("lease {id} does not exist"),
    )
}

fn usage(leased: usize) -> Option<Usage> {
    Some(Usage {
        capacity: "254".to_owned(),
        leased: leased.to_string(),
        reserved: "0".to_owned(),
        quarantined: "0".to_owned(),
        free: (254 - leased).to_string(),
    })
}

impl State {
    fn shown(&self, name: &str) -> Result<Pool, Status> {
        let mut pool = self.pools.get(name).cloned().ok_or_else(|| no_pool(name))?;
        pool.ipv4_usage = pool.ipv4.as_ref().and_then(|_| usage(self.leases.len()));
        pool.ipv6_usage = pool.ipv6.as_ref().and_then(|_| usage(self.leases.len()));
        Ok(pool)
    }

    fn event(&mut self, kind: EventType, lease: &Lease) {
        let subject = Subject {
            subject: Some(subject::Subject::Lease(lease.clone())),
        };
        self.events.push(Event {
            revision: self.events.len() as u64 + 1,
            time: Some(pbjson_types::Timestamp {
                seconds: 1_767_225_600,
                nanos: 0,
            }),
            r#type: kind.into(),
            actor: "uid:0".to_owned(),
            before: None,
            after: Some(subject),
        });
    }
}

fn cordoned(fake: &Fake, name: &str, state: pool::State) -> Answer<Pool> {
    let mut all = fake.state();
    all.pools.get_mut(name).ok_or_else(|| no_pool(name))?.state = state.into();
    all.shown(name).map(Response::new)
}

#[tonic::async_trait]
impl PoolService for Fake {
    async fn create_pool(&self, request: Request<CreatePoolRequest>) -> Answer<Pool> {
        let request = request.into_inner();
        let mut pool = request.pool.unwrap_or_default();
        if pool.ipv4.is_none() && pool.ipv6.is_none() {
            let message = "pool.ipv4: one of ipv4 and ipv6 must be there";
            return Err(refuse(Code::InvalidArgument, "INVALID_FIELD", message));
        }
        pool.etag = "1".to_owned();
        if !request.validate_only {
            self.state().pools.insert(pool.name.clone(), pool.clone());
        }
        Ok(Response::new(pool))
    }
    async fn get_pool(&self, request: Request<GetPoolRequest>) -> Answer<Pool> {
        self.state()
            .shown(&request.into_inner().name)
            .map(Response::new)
    }
    async fn list_pools(&self, request: Request<ListPoolsRequest>) -> Answer<ListPoolsResponse> {
        let mut all = self.state();
        all.filter = request.into_inner().filter;
        let pools = all
            .pools
            .keys()
            .map(|name| all.shown(name))
            .collect::<Result<_, _>>()?;
        Ok(Response::new(ListPoolsResponse {
            pools,
            next_page_token: String::new(),
        }))
    }
    async fn update_pool(&self, request: Request<UpdatePoolRequest>) -> Answer<Pool> {
        let request = request.into_inner();
        let mut pool = request.pool.unwrap_or_default();
        let mut all = self.state();
        if all.shown(&pool.name)?.etag != pool.etag {
            return Err(refuse(
                Code::Aborted,
                "STALE_GENERATION",
                "pool has changed; read it again",
            ));
        }
        all.mask = request.update_mask;
        pool.etag.push('1');
        all.pools.insert(pool.name.clone(), pool.clone());
        all.shown(&pool.name).map(Response::new)
    }
    async fn delete_pool(&self, request: Request<DeletePoolRequest>) -> Answer<DeletePoolResponse> {
        let name = request.into_inner().name;
        self.state()
            .pools
            .remove(&name)
            .ok_or_else(|| no_pool(&name))?;
        Ok(Response::new(DeletePoolResponse {}))
    }
    async fn cordon_pool(&self, request: Request<CordonPoolRequest>) -> Answer<Pool> {
        cordoned(self, &request.into_inner().name, pool::State::Cordoned)
    }
    async fn uncordon_pool(&self, request: Request<UncordonPoolRequest>) -> Answer<Pool> {
        cordoned(self, &request.into_inner().name, pool::State::Active)
    }
}

fn given(request: AllocateRequest) -> Lease {
    Lease {
        pool: request.pools.first().cloned().unwrap_or_default(),
        vrf: "default".to_owned(),
        ipv4: "10.20.0.7/24".to_owned(),
        ipv6: "fd00:20::7/64".to_owned(),
        owner: request.owner,
        state: lease::State::Active.into(),
        generation: 1,
        ..Lease::default()
    }
}

#[tonic::async_trait]
impl LeaseService for Fake {
    async fn allocate(&self, request: Request<AllocateRequest>) -> Answer<AllocateResponse> {
        let request = request.into_inner();
        let mut all = self.state();
        let name = request.pools.first().cloned().unwrap_or_default();
        all.shown(&name)?;
        if request.ips.iter().any(|ip| ip == "10.20.0.1") {
            let message = "10.20.0.1 of pool blue is not for lease: gateway";
            return Err(refuse(
                Code::FailedPrecondition,
                "ADDRESS_RESERVED",
                message,
            ));
        }
        let mut lease = given(request);
        lease.id = format!("l{}", all.leases.len() + 1);
        all.leases.insert(lease.id.clone(), lease.clone());
        all.event(EventType::Created, &lease);
        Ok(Response::new(AllocateResponse {
            lease: Some(lease),
            ..AllocateResponse::default()
        }))
    }
    async fn batch_allocate(
        &self,
        _: Request<BatchAllocateRequest>,
    ) -> Answer<BatchAllocateResponse> {
        Err(Status::unimplemented("not here"))
    }
    async fn report_held(&self, _: Request<ReportHeldRequest>) -> Answer<ReportHeldResponse> {
        Err(Status::unimplemented("not here"))
    }
    async fn release(&self, request: Request<ReleaseRequest>) -> Answer<ReleaseResponse> {
        let id = request.into_inner().id;
        let mut all = self.state();
        let lease = all.leases.remove(&id).ok_or_else(|| no_lease(&id))?;
        all.event(EventType::Released, &lease);
        Ok(Response::new(ReleaseResponse { lease: Some(lease) }))
    }
    async fn release_attachment(
        &self,
        _: Request<ReleaseAttachmentRequest>,
    ) -> Answer<ReleaseAttachmentResponse> {
        Err(Status::unimplemented("not here"))
    }
    async fn release_unlisted(
        &self,
        _: Request<ReleaseUnlistedRequest>,
    ) -> Answer<ReleaseUnlistedResponse> {
        Err(Status::unimplemented("not here"))
    }
    async fn renew(&self, request: Request<RenewRequest>) -> Answer<Lease> {
        let id = request.into_inner().id;
        self.state()
            .leases
            .get(&id)
            .cloned()
            .map(Response::new)
            .ok_or_else(|| no_lease(&id))
    }
    async fn get_lease(&self, request: Request<GetLeaseRequest>) -> Answer<Lease> {
        let id = request.into_inner().id;
        if id == "slow" {
            std::future::pending::<()>().await;
        }
        self.state()
            .leases
            .get(&id)
            .cloned()
            .map(Response::new)
            .ok_or_else(|| no_lease(&id))
    }
    /// One lease a page, so that pages are turned.
    async fn list_leases(&self, request: Request<ListLeasesRequest>) -> Answer<ListLeasesResponse> {
        let request = request.into_inner();
        let mut all = self.state();
        all.filter = request.filter;
        let mut rest = all
            .leases
            .values()
            .filter(|lease| lease.id > request.page_token);
        let leases: Vec<_> = rest.next().cloned().into_iter().collect();
        let next_page_token = match (leases.first(), rest.next()) {
            (Some(lease), Some(_)) => lease.id.clone(),
            _ => String::new(),
        };
        Ok(Response::new(ListLeasesResponse {
            leases,
            next_page_token,
        }))
    }
    async fn lookup(&self, request: Request<LookupRequest>) -> Answer<LookupResponse> {
        let request = request.into_inner();
        if request.at_time.is_some_and(|at| at.seconds < 1_000_000_000) {
            let message = "the history begins at revision 7; time 1970 is no longer kept";
            return Err(refuse(Code::OutOfRange, "COMPACTED", message));
        }
        let holds = |lease: &Lease| {
            [&lease.ipv4, &lease.ipv6]
                .iter()
                .any(|ip| ip.split('/').next() == Some(&request.address))
        };
        let leases = self
            .state()
            .leases
            .values()
            .filter(|lease| holds(lease))
            .cloned()
            .collect();
        Ok(Response::new(LookupResponse { leases }))
    }
    type WatchStream = Many<WatchResponse>;
    async fn watch(&self, request: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        let after = request.into_inner().after_revision;
        let events = self.state().events.clone();
        let mut messages: Vec<_> = events
            .into_iter()
            .filter(|event| event.revision > after)
            .map(watch_response::Message::Event)
            .collect();
        messages.insert(0, watch_response::Message::BookmarkRevision(after));
        let sent = messages.into_iter().map(|message| {
            Ok(WatchResponse {
                message: Some(message),
                store_id: String::new(),
            })
        });
        Ok(Response::new(Box::pin(stream::iter(sent))))
    }
    async fn explain(&self, request: Request<ExplainRequest>) -> Answer<ExplainResponse> {
        let asked = request.into_inner().request.unwrap_or_default();
        let pool = asked.pools.first().cloned().unwrap_or_default();
        let full = asked.ips.iter().any(|ip| ip == "10.20.0.1");
        let (finding, reason) = match full {
            true => ("10.20.0.1 is the gateway", "ADDRESS_RESERVED"),
            false => ("10.20.0.7 and fd00:20::7 are next", ""),
        };
        let step = ExplainStep {
            pool,
            finding: finding.to_owned(),
            reason: reason.to_owned(),
        };
        let lease = (!full).then(|| given(asked));
        let would_give = lease.map(|lease| AllocateResponse {
            lease: Some(lease),
            ..AllocateResponse::default()
        });
        Ok(Response::new(ExplainResponse {
            would_give,
            steps: vec![step],
        }))
    }
}

#[tonic::async_trait]
impl ReservationService for Fake {
    async fn create_reservation(
        &self,
        request: Request<CreateReservationRequest>,
    ) -> Answer<Reservation> {
        let kept = request.into_inner().reservation.unwrap_or_default();
        self.state()
            .reservations
            .insert(kept.name.clone(), kept.clone());
        Ok(Response::new(kept))
    }
    async fn get_reservation(
        &self,
        request: Request<GetReservationRequest>,
    ) -> Answer<Reservation> {
        let name = request.into_inner().name;
        let found = self.state().reservations.get(&name).cloned();
        let missing = || {
            refuse(
                Code::NotFound,
                "RESERVATION_NOT_FOUND",
                "reservation does not exist",
            )
        };
        found.map(Response::new).ok_or_else(missing)
    }
    async fn list_reservations(
        &self,
        _: Request<ListReservationsRequest>,
    ) -> Answer<ListReservationsResponse> {
        let reservations = self.state().reservations.values().cloned().collect();
        Ok(Response::new(ListReservationsResponse {
            reservations,
            next_page_token: String::new(),
        }))
    }
    async fn delete_reservation(
        &self,
        request: Request<DeleteReservationRequest>,
    ) -> Answer<DeleteReservationResponse> {
        self.state().reservations.remove(&request.into_inner().name);
        Ok(Response::new(DeleteReservationResponse {}))
    }
}

#[tonic::async_trait]
impl AdminService for Fake {
    type ExportStream = Many<ExportItem>;
    async fn export(&self, _: Request<ExportRequest>) -> Answer<Self::ExportStream> {
        let all = self.state();
        let header = ExportHeader {
            format: 1,
            pools: all.pools.len() as u64 + u64::from(all.lie),
            leases: all.leases.len() as u64,
            ..ExportHeader::default()
        };
        let pools = all.pools.values().cloned().map(Item::Pool);
        let leases = all.leases.values().cloned().map(Item::Lease);
        let items: Vec<_> = std::iter::once(Item::Header(header))
            .chain(pools)
            .chain(leases)
            .collect();
        let sent = items
            .into_iter()
            .map(|item| Ok(ExportItem { item: Some(item) }));
        Ok(Response::new(Box::pin(stream::iter(sent))))
    }
    async fn import(&self, request: Request<Streaming<ImportRequest>>) -> Answer<ImportResponse> {
        let mut batches = request.into_inner();
        let mut answer = ImportResponse::default();
        while let Some(batch) = batches.message().await? {
            let mut all = self.state();
            all.batches.push(batch.items.len());
            for item in batch.items {
                let told = match item.item {
                    Some(Item::Pool(pool)) => {
                        take(&mut all.pools, pool.name.clone(), pool, batch.validate_only)
                    }
                    Some(Item::Lease(mut lease)) => {
                        if lease.id.is_empty() {
                            lease.id = lease.ipv4.clone();
                        }
                        take(
                            &mut all.leases,
                            lease.id.clone(),
                            lease,
                            batch.validate_only,
                        )
                    }
                    _ => return Err(Status::invalid_argument("not an item")),
                };
                match told {
                    Some(true) => answer.imported += 1,
                    Some(false) => answer.unchanged += 1,
                    None => {
                        answer.conflicts += 1;
                        answer
                            .conflict_details
                            .push("it is there, and differs".to_owned());
                    }
                }
            }
        }
        Ok(Response::new(answer))
    }
    async fn check_consistency(
        &self,
        _: Request<CheckConsistencyRequest>,
    ) -> Answer<CheckConsistencyResponse> {
        let all = self.state();
        let problems = if all.lie {
            vec!["a count is off".to_owned()]
        } else {
            Vec::new()
        };
        Ok(Response::new(CheckConsistencyResponse {
            leases: all.leases.len() as u64,
            pools: 1,
            problems,
        }))
    }
    async fn list_events(&self, _: Request<ListEventsRequest>) -> Answer<ListEventsResponse> {
        let events = self.state().events.clone();
        Ok(Response::new(ListEventsResponse {
            events,
            next_page_token: String::new(),
        }))
    }
    async fn reclaim_orphans(
        &self,
        request: Request<ReclaimOrphansRequest>,
    ) -> Answer<ReclaimOrphansResponse> {
        let request = request.into_inner();
        let mut all = self.state();
        let mut answer = ReclaimOrphansResponse::default();
        let leases: Vec<Lease> = all.leases.values().cloned().collect();
        for lease in leases {
            let owner = lease.owner.clone().unwrap_or_default();
            let attachment = Attachment {
                container_id: owner.container_id,
                ifname: owner.ifname,
            };
            if attachment.container_id.is_empty() || request.attachments.contains(&attachment) {
                continue;
            }
            if !all.suspects.contains(&lease.id) {
                if !request.validate_only {
                    all.suspects.insert(lease.id.clone());
                }
                answer.suspected.push(lease);
                continue;
            }
            if !request.validate_only {
                all.leases.remove(&lease.id);
            }
            answer.reclaimed.push(lease);
        }
        Ok(Response::new(answer))
    }
    async fn get_server(&self, _: Request<GetServerRequest>) -> Answer<Server> {
        let version = "0.1.0".to_owned();
        Ok(Response::new(Server {
            version,
            store: "memory".to_owned(),
            writable: true,
            ..Server::default()
        }))
    }
}

/// Whether it was taken in; none: another one is there.
fn take<T: PartialEq>(
    all: &mut BTreeMap<String, T>,
    name: String,
    one: T,
    validate_only: bool,
) -> Option<bool> {
    match all.get(&name) {
        Some(there) => (*there == one).then_some(false),
        None => {
            if !validate_only {
                all.insert(name, one);
            }
            Some(true)
        }
    }
}
