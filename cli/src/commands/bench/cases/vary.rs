//! The publishing load with one part of it varied, for the plots.

use super::{
    super::measured::Outcome,
    Run,
    publish::{publish, records},
};

/// Payloads that are tried, in bytes.
const SIZES: [u32; 8] = [64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_024 * 1_023];

/// Records under way that are tried.
const IN_FLIGHT: [u32; 7] = [1, 8, 64, 512, 2_048, 8_192, 32_768];

/// Bytes under way, at most.
const IN_FLIGHT_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Records for each of those under way, where they are few.
const RECORDS_EACH: u64 = 2_000;

impl Run<'_> {
    /// By record size.
    pub(in super::super) async fn by_size(&self) -> anyhow::Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for size in SIZES {
            let mut setting = self.setting(self.in_flight().min(IN_FLIGHT_BYTES_MAX / size).max(1));
            setting.size = size;
            outcomes.push(publish(self, setting, self.scaled(records(size))).await?);
        }
        Ok(outcomes)
    }

    /// By records in flight.
    pub(in super::super) async fn by_in_flight(&self) -> anyhow::Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for in_flight in IN_FLIGHT {
            let setting = self.setting(in_flight);
            let most = RECORDS_EACH * u64::from(in_flight);
            let records = self.scaled(records(setting.size).min(most));
            outcomes.push(publish(self, setting, records).await?);
        }
        Ok(outcomes)
    }

    /// With this number of replicas.
    pub(in super::super) async fn with_replicas(&self, replicas: u16) -> anyhow::Result<Outcome> {
        let mut setting = self.setting(self.in_flight());
        setting.replicas = replicas;
        publish(self, setting, self.scaled(records(setting.size) / 2)).await
    }
}
