//! The configuration of `bridge`.

use serde::Deserialize;

use crate::failure::Failure;
use crate::hardware;
use crate::plugin::Request;
use crate::shape::Shape;

/// The highest VLAN (IEEE 802.1Q).
const HIGHEST_VLAN: i64 = 4094;

pub(super) const KEYS: &[(&str, Shape)] = &[
    ("bridge", Shape::Any),
    ("isGateway", Shape::Any),
    ("isDefaultGateway", Shape::Any),
    ("forceAddress", Shape::Any),
    ("ipMasq", Shape::Any),
    ("ipMasqBackend", Shape::Any),
    ("mtu", Shape::Any),
    ("hairpinMode", Shape::Any),
    ("promiscMode", Shape::Any),
    ("vlan", Shape::Any),
    (
        "vlanTrunk",
        Shape::List(&Shape::Object(&[
            ("minID", Shape::Any),
            ("maxID", Shape::Any),
            ("id", Shape::Any),
        ])),
    ),
    ("preserveDefaultVlan", Shape::Any),
    ("macspoofchk", Shape::Any),
    ("enabledad", Shape::Any),
    ("disableContainerInterface", Shape::Any),
    ("portIsolation", Shape::Any),
    ("args", Shape::Any),
    ("runtimeConfig", Shape::Any),
    ("ipam", Shape::Any),
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Conf {
    #[serde(default = "default_bridge")]
    pub(super) bridge: String,
    #[serde(default)]
    is_gateway: bool,
    #[serde(default)]
    pub(super) is_default_gateway: bool,
    #[serde(default)]
    pub(super) force_address: bool,
    #[serde(default, deserialize_with = "crate::plugin::mtu")]
    pub(super) mtu: Option<u32>,
    #[serde(default)]
    pub(super) hairpin_mode: bool,
    #[serde(default)]
    pub(super) promisc_mode: bool,
    #[serde(default)]
    vlan: i64,
    vlan_trunk: Option<Vec<Trunk>>,
    #[serde(default)]
    pub(super) preserve_default_vlan: bool,
    #[serde(default, rename = "enabledad")]
    pub(super) enable_dad: bool,
    #[serde(default)]
    pub(super) disable_container_interface: bool,
    #[serde(default)]
    pub(super) port_isolation: bool,
    /// The hardware address that is asked for.
    #[serde(skip)]
    pub(super) mac: Option<Vec<u8>>,
}

#[derive(Debug, Deserialize)]
struct Trunk {
    #[serde(rename = "minID")]
    min: Option<i64>,
    #[serde(rename = "maxID")]
    max: Option<i64>,
    id: Option<i64>,
}

fn default_bridge() -> String {
    "cni0".to_owned()
}

impl Conf {
    /// The configuration, its values unchecked.
    pub(super) fn parse(request: &Request<'_>) -> Result<Conf, Failure> {
        request.read()
    }

    pub(super) fn read(request: &Request<'_>) -> Result<Conf, Failure> {
        let mut conf = Conf::parse(request)?;
        if !(0..=HIGHEST_VLAN).contains(&conf.vlan) {
            let problem = format!("{} is no VLAN; use 0 (none) to {HIGHEST_VLAN}", conf.vlan);
            return Err(Failure::field("vlan", problem));
        }
        conf.trunk()?;
        conf.mac = hardware::wanted(request)?;
        Ok(conf)
    }

    /// Whether the bridge is the pod's router.
    pub(super) fn is_gateway(&self) -> bool {
        self.is_gateway || self.is_default_gateway
    }

    /// Whether the bridge looks at VLANs.
    pub(super) fn filters_vlans(&self) -> bool {
        self.vlan != 0 || self.vlan_trunk.is_some()
    }

    /// The VLAN of frames without a tag.
    pub(super) fn vlan(&self) -> Option<u16> {
        u16::try_from(self.vlan).ok().filter(|vlan| *vlan > 0)
    }

    /// The VLANs of the trunk, in order and each once.
    pub(super) fn trunk(&self) -> Result<Vec<u16>, Failure> {
        let mut all = Vec::new();
        for (place, item) in self.vlan_trunk.iter().flatten().enumerate() {
            let vlan = |key: &str, vlan: i64| {
                let field = format!("vlanTrunk[{place}].{key}");
                let number = u16::try_from(vlan).ok();
                let number = number.filter(|_| (1..=HIGHEST_VLAN).contains(&vlan));
                number.ok_or_else(|| {
                    Failure::field(field, format!("{vlan} is no VLAN; use 1 to {HIGHEST_VLAN}"))
                })
            };
            match (item.min, item.max) {
                (Some(min), Some(max)) => {
                    let (min, max) = (vlan("minID", min)?, vlan("maxID", max)?);
                    if max < min {
                        let field = format!("vlanTrunk[{place}].maxID");
                        return Err(Failure::field(field, format!("{max} is below minID {min}")));
                    }
                    all.extend(min..=max);
                }
                (None, None) => {}
                _ => {
                    let field = format!("vlanTrunk[{place}]");
                    return Err(Failure::field(
                        field,
                        "minID and maxID belong together; set both",
                    ));
                }
            }
            if let Some(id) = item.id {
                all.push(vlan("id", id)?);
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }
}
