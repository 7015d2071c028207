//! What each host of a run is: honest, honest on a bad day, or a villain, each in a file of its own.

use fondaco_storage_host::HostConfig;
use fondaco_transport::Fabric;

use super::Planted;
use super::bad_days::{DayOff, FullDisk};
use super::host::HostNode;
use super::villains::{
    AuditsOnlyHost, DearHost, DenyingHost, ForgetfulHost, InflatingHost, LyingHost, Mischief,
    RefusingHost, SilentHost, StallingHost, StepTaker, TruncatingHost,
};
use crate::{Rng, VirtualClock};

/// What a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Honest,
    FullDisk,
    DayOff,
    Stalling,
    Lying,
    Truncating,
    Silent,
    StepTaking,
    Denying,
    Refusing,
    Forgetful,
    Inflating,
    AuditsOnly,
    /// The same, where it takes for an audit what lies in one group.
    GroupsOnly,
    Dear,
}

impl Role {
    /// Whether it keeps and serves what it is paid for.
    pub(super) const fn is_good(self) -> bool {
        matches!(self, Self::Honest | Self::FullDisk)
    }

    /// Whether nothing it does may ever be held against it.
    pub(super) const fn is_honest(self) -> bool {
        matches!(self, Self::Honest | Self::FullDisk | Self::DayOff)
    }

    /// Whether it answers no restore at its worst, so that it may pass no audit of what it keeps.
    pub(super) const fn keeps_quiet(self) -> bool {
        matches!(
            self,
            Self::Stalling | Self::Truncating | Self::Silent | Self::StepTaking | Self::AuditsOnly
        )
    }

    /// One of those that are not plainly honest; of a planted fault, one by which it shows.
    pub(super) fn any_villain(planted: Planted, rng: &mut Rng) -> Self {
        use Role::{
            AuditsOnly, DayOff, Dear, Denying, Forgetful, FullDisk, GroupsOnly, Inflating, Lying,
            Refusing, Silent, Stalling, StepTaking, Truncating,
        };
        let among: &[Self] = match planted {
            Planted::BelievesHosts => &[Inflating],
            Planted::AuditsApart => &[AuditsOnly],
            Planted::TrustsAnybody => &[Dear],
            Planted::ForgetsLosses => &[StepTaking],
            // They keep their buyer waiting, until it is killed.
            Planted::ForgetsSteps => &[Silent],
            Planted::ForgetsPuts => &[Denying],
            Planted::OverlooksSilence => &[Stalling, Truncating, Silent, StepTaking],
            _ => &[
                FullDisk, DayOff, Stalling, Lying, Lying, Truncating, Silent, StepTaking, Refusing,
                Denying, Forgetful, Inflating, AuditsOnly, GroupsOnly, Dear,
            ],
        };
        *rng.pick(among).unwrap_or(&Lying)
    }

    /// What it does to the frames of its service.
    pub(super) fn mischief(self, rng: &mut Rng) -> Option<Box<dyn Mischief>> {
        match self {
            Self::Lying => Some(Box::new(LyingHost::new(rng))),
            Self::Truncating => Some(Box::new(TruncatingHost::new(rng))),
            Self::Silent => Some(Box::new(SilentHost::new(rng))),
            Self::StepTaking => Some(Box::new(StepTaker::new(rng))),
            Self::Denying => Some(Box::new(DenyingHost::new(rng))),
            Self::Refusing => Some(Box::new(RefusingHost::new(rng))),
            Self::Inflating => Some(Box::new(InflatingHost::new(rng))),
            Self::AuditsOnly => Some(Box::new(AuditsOnlyHost::new(false, rng))),
            Self::GroupsOnly => Some(Box::new(AuditsOnlyHost::new(true, rng))),
            Self::Dear => Some(Box::new(DearHost)),
            Self::Honest | Self::FullDisk | Self::DayOff | Self::Stalling | Self::Forgetful => None,
        }
    }

    /// What it asks, where an honest host would ask this.
    pub(super) fn prices(self, config: HostConfig) -> HostConfig {
        if self == Self::Dear { DearHost::prices(config) } else { config }
    }

    /// What it begins with.
    pub(super) fn begin(self, clock: &VirtualClock, rng: &mut Rng) {
        if self == Self::DayOff {
            DayOff::begin(clock, rng);
        }
    }

    /// What it does now and then, or what befalls it.
    pub(super) fn strike(self, fabric: &Fabric, host: &HostNode, rng: &mut Rng) {
        match self {
            Self::FullDisk => FullDisk::strike(host, rng),
            Self::Forgetful => ForgetfulHost::strike(host, rng),
            Self::Stalling => StallingHost::strike(fabric, host, rng.chance(70)),
            _ => host.stay_down(rng.chance(50)),
        }
    }

    /// From now on it does whenever it can what it did now and then.
    pub(super) fn be_worst(self, fabric: &Fabric, host: &HostNode) {
        if self == Self::Stalling {
            StallingHost::strike(fabric, host, true);
        }
        host.heal();
    }
}
