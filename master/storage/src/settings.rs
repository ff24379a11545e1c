//! How much memory and how many files a database may use, and the options that follow from it.

use forebay_types::ByteCount;
use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel, Options};

/// Bits of bloom filter for each key: about 1 % of the look-ups for a key that is not there read a block.
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// RocksDB's own log files that are kept, and the length of each.
const INFO_LOGS_MAX: usize = 4;
const INFO_LOG_LENGTH_MAX: usize = 4 << 20;
/// Smallest blocks of the state are read one by one, so they are kept small.
const BLOCK_LENGTH: usize = 8 << 10;

/// Part of a write buffer, of each table, that says which rows are not in it: some bits for each row.
const MEMTABLE_BLOOM_SHARE: f64 = 0.01;

/// What one store may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Memory for blocks that were read, with their indexes and filters.
    pub block_cache: ByteCount,
    /// Memory for rows that are not yet in a table file, all tables together.
    pub write_buffer: ByteCount,
    /// Most open files.
    pub open_files_max: u16,
}

/// How a store gets on after the machine lost power.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Durability {
    /// Each write is synced: only a write that never returned may be missing, damage anywhere else is an error.
    Synced,
    /// Writes are synced later: what is missing at the end is written again by who knows it.
    Replayed,
}

impl Default for StoreSettings {
    /// 256 MiB of blocks, 64 MiB of rows, 512 files.
    fn default() -> Self {
        Self {
            block_cache: ByteCount::new(256 << 20),
            write_buffer: ByteCount::new(64 << 20),
            open_files_max: 512,
        }
    }
}

impl StoreSettings {
    /// The options of the database and of each of its tables.
    pub(crate) fn options(self, durability: Durability) -> Result<Options, rocksdb::Error> {
        let bytes = |count: ByteCount| usize::try_from(count.get()).unwrap_or(usize::MAX);
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_lru_cache(bytes(self.block_cache))?);
        blocks.set_block_size(BLOCK_LENGTH);
        blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        // Else a large state would hold memory beyond the cache's bound.
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        blocks.set_format_version(5);

        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(bytes(self.write_buffer));
        // Applying asks for many rows that are not there, or not in memory.
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_SHARE);
        options.set_db_write_buffer_size(bytes(self.write_buffer));
        options.set_max_total_wal_size(self.write_buffer.get().saturating_mul(2));
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_max_background_jobs(2);
        options.set_bytes_per_sync(1 << 20);
        options.set_max_open_files(self.open_files_max.into());
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(INFO_LOGS_MAX);
        options.set_max_log_file_size(INFO_LOG_LENGTH_MAX);
        options.set_wal_recovery_mode(match durability {
            Durability::Synced => DBRecoveryMode::TolerateCorruptedTailRecords,
            Durability::Replayed => DBRecoveryMode::PointInTime,
        });
        Ok(options)
    }
}
