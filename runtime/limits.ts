/**
 * Every bound of Roost, in one place. Each says its unit, its relation to others, and what goes
 * wrong when it is too small or too big. The asserts at the end hold the arithmetic between them.
 */
import { assert } from "./errors.ts";

export const LIMITS = {
  /** Partitions of group `things`. Fixed when the data directory is made. More spread commits thin. */
  partitionsOfThings: 32,
  /** Partitions of group `cameras`. */
  partitionsOfCameras: 16,

  /** Bytes of one message body on any wire. Bigger bodies would stall the socket loop while parsing. */
  payloadBytesMax: 65_536,
  /** Points (device, metric, time, value) of one message. */
  pointsPerMessageMax: 1_000,
  /** Levels of a JSON document from outside; deeper would risk the stack of a recursive walk. */
  jsonDepthMax: 32,
  /** Fields of a JSON document of the API: a hundred thousand names take half a second to parse. */
  jsonFieldsMax: 40_000,
  /** Characters of a name: product, device, property, event, service. */
  nameCharactersMax: 64,
  /** How far a device's own time may run ahead of acceptance. */
  aheadMsMax: 600_000,
  /** Default of a product's `lateDaysMax`: how old a point may be. */
  lateDaysDefault: 30,

  /** Bytes of one actor's state, encoded. A value that would pass it is refused: `state_full`. */
  stateBytesMax: 65_536,
  /** Committed states of one page that is read of all: each may have `stateBytesMax`. */
  statesPageMax: 128,
  /** Messages that one root record may cause, itself included. Spent means dead letter. */
  budgetPerRootRecord: 10_000,
  /** Parks of one actor within `parkWindowMs` that suspend it. */
  parksMax: 5,
  parkWindowMs: 60_000,
  /** Dead letters kept for one suspended actor. At the bound its ingress is refused. */
  deadLettersPerActorMax: 1_000,
  /** Dead letters that a list counts; beyond it the count is not told. The log's thread counts them. */
  deadLettersCountedMax: 100_000,
  /**
   * Actors at that bound which gateways know of. At the bound the oldest is forgotten: its next
   * message is one dead letter more, and it is known again.
   */
  suspendedActorsMax: 10_000,
  /** Reminders of one actor at a time. */
  remindersPerActorMax: 64,
  /** Bytes of a reminder's name; the names of an actor stand in the envelope of its state. */
  reminderNameBytesMax: 64,
  /**
   * A reminder due at least this long after it is set starts a new budget, a sooner one gets a share
   * of the budget in hand. Too small: a loop of reminders is hardly bounded. Too big: a slow periodic
   * reminder ends as a dead letter after `budgetPerRootRecord` rounds.
   */
  reminderRootMs: 1_000,

  /** Activations kept in an engine process: by count, by bytes of encoded state, by idle time. */
  activationsMax: 200_000,
  activationBytesMax: 96 * 1024 * 1024,
  activationIdleMs: 600_000,

  /** Records of one partition handed to the engine in one batch. */
  batchRecordsMax: 1_024,
  /** Bytes of one partition's slice of a batch. */
  batchBytesMax: 512 * 1024,
  /** Bytes and keys of what one partition commits in one step: bounds the atomic step of any store. */
  commitBytesMax: 256 * 1024,
  commitKeysMax: 500,
  /** Replies, downlinks and live-feed values of one commit: bounds the frame that carries them. */
  transientEffectsMax: 4_096,
  /** Messages handled in one partition's batch, caused ones included, before it ends early. */
  batchMessagesMax: 20_000,
  /** Bytes of a dead letter's message that lists show: a page of them is read between two appends. */
  deadLetterShownBytes: 4_096,
  /** Dead letters of one step of a replay; more is done in several. */
  replayLettersMax: 64,
  /** Bytes of the error text kept with a dead letter. */
  deadLetterDetailBytesMax: 4_096,

  /** Stored activities held in memory by the runner; the rest waits in the store. */
  activitiesHeldMax: 1_024,
  /** Engine silence with a batch in hand after which it is killed. Too small: a busy host kills it. */
  engineStallMs: 2_000,
  /**
   * Longest that `engineSliceMessages` messages may take, and CPU time that they have to have used by
   * then, for the engine to end itself as stuck. Too small: a heavy handler on a slow machine is taken
   * for a loop. Too big: each loop holds up all partitions for as long.
   */
  engineLoopMs: 1_000,
  engineLoopCpuMs: 100,
  /** Messages between two looks at that: fewer cost more watches, 20 µs each. */
  engineSliceMessages: 512,
  /** Old-space heap of the engine process, megabytes. */
  engineHeapMbMax: 512,

  /** Bytes of one append: one SQLite blob, one frame between threads. */
  appendBytesMax: 1024 * 1024,
  /** Longest a record waits for its append to be closed. Adds to each acknowledgement. */
  appendDelayMs: 2,
  /** Unacknowledged ingress bytes in the process, of all wires. At the bound senders are held back. */
  unacknowledgedBytesMax: 24 * 1024 * 1024,
  /** Longest a connection waits for one acknowledgement before it is closed. */
  acknowledgeMsMax: 10_000,

  /** Pending ingress records of the log; ingress stops at `admissionRatio` of it. */
  pendingRecordsMax: 4_000_000,
  /** Bytes of the log, handled and not; ingress stops at `admissionRatio` of it. */
  logBytesMax: 4 * 1024 * 1024 * 1024,
  /** Share of a bound at which ingress is refused, so that sends and reminders still fit. */
  admissionRatio: 0.7,
  /** Free disk below which ingress is refused. A full disk stops commits, not only appends. */
  diskReserveBytes: 64 * 1024 * 1024,
  /** Packed ticks kept in memory for readers that are close to the head. */
  tickCacheBytesMax: 16 * 1024 * 1024,
  /** Bytes gathered into one durable step; more waits for the next. Too big: one slow transaction. */
  stepBytesMax: 8 * 1024 * 1024,
  /** Bytes of one page of gateway rows, but for its last row: bounds a frame between threads. */
  gatewayPageBytesMax: 512 * 1024,
  /** Starts of gateways remembered for repeats. Too small: a live one is forgotten, repeats doubled. */
  incarnationsMax: 64,
  /** Ticks of one trim; an append behind it waits for some milliseconds. */
  trimTicksMax: 64,
  /**
   * Bytes of ticks that one trim reads to keep the segments of stopped partitions; an append behind it
   * waits for some milliseconds. What is kept counts in `logBytesMax`.
   */
  setAsideBytesMax: 1024 * 1024,
  /** Bytes written to a WAL that make a checkpoint worth its two fsyncs; each stalls appends. */
  checkpointBytes: 4 * 1024 * 1024,
  /** Bytes of a WAL at which a write checkpoints by itself, if nobody else did. */
  walBytesMax: 256 * 1024 * 1024,

  /** Rows of the telemetry hot table. */
  hotRowsMax: 1_000_000,
  /** Points of one compacted chunk. Bigger compresses better, smaller reads less for short ranges. */
  chunkPointsMax: 1_024,
  /** Hot rows at which compaction starts. Too few: tiny chunks; too many: slow reads of fresh points. */
  compactAtRows: 200_000,
  /** Hot rows of one device at which compaction starts: a read parses each of them. */
  compactAtDeviceRows: 5_000,
  /** Age of the oldest hot row at which compaction starts below that. */
  compactAfterMs: 300_000,
  /** Hot rows and bytes that one run of compaction holds in memory. */
  compactionRowsMax: 262_144,
  compactionBytesMax: 32 * 1024 * 1024,
  /** Points of one compaction transaction: a few milliseconds, since queries and writes wait for it. */
  compactionSlicePoints: 8_192,
  /** Rows read or deleted by one small step on the hot table. */
  hotSliceRows: 2_048,
  /** Bytes written to telemetry's WAL after which a checkpoint is due; at 8 times that, writes do it. */
  telemetryWalBytesMax: 4 * 1024 * 1024,
  /** Names of devices and of metrics kept in memory with their numbers, each. */
  telemetryNamesMax: 65_536,
  /** Metrics of one history query. */
  queryMetricsMax: 32,
  /** Points of one page of history. */
  queryPointsMax: 100_000,
  /** Events of one page of a device's events. */
  eventsPageMax: 500,
  /** Bytes of the data of one page of events, but for its last one: bounds a frame between threads. */
  eventsPageBytesMax: 1024 * 1024,
  /** Buckets of one metric in a bucket query. */
  queryBucketsMax: 10_000,
  /** Points of one metric that a query may hold in memory, 16 B each: of all its range or of a day. */
  seriesPointsMax: 4_000_000,
  /** Points that a range is thinned to. */
  thinnedPointsMax: 10_000,

  /** Statements kept prepared for one connection of the relational store. */
  preparedStatementsMax: 256,
  /**
   * Pages that a connection for searches keeps in memory. At SQLite's own 2,000 KiB a search over 100,000
   * devices reads them again and again, and takes half as long again.
   */
  storeReaderCacheKib: 16_384,
  /** Longest a query of the relational store waits for another process' write lock. */
  storeBusyMs: 5_000,
  /**
   * Pages of 4 KiB in the WAL of the relational store that make a commit checkpoint. It holds up the
   * main thread for two fsyncs: rows of the audit come at hundreds of pages a second.
   */
  storeCheckpointPages: 4_000,
  /** Rows of the `changes` table that are kept; a follower further behind drops all its caches. */
  changesKeptMax: 100_000,
  /** Characters of a device's secret that is brought along; shorter ones are guessed. */
  secretCharactersMin: 8,
  secretCharactersMax: 256,
  /** Longest that an old secret of a device goes on beside a new one. */
  secretOverlapMsMax: 30 * 86_400_000,
  /** Devices with an old secret beside the current one at a time. */
  secretOverlapsMax: 100_000,
  /** Tags of one device. */
  tagsPerDeviceMax: 32,
  /** Characters of a title for people: name of a product, a device, a key. */
  titleCharactersMax: 128,
  /** Rows that a search reads before it lets other work run, and longest time of one page of it. */
  searchSliceRows: 5_000,
  searchMsMax: 250,
  /** Rows that are looked at one by one to count a list; beyond it the count is not told. */
  countRowsMax: 1_000_000,
  /**
   * How often messages of one device move its row of view `presence`, by which lists show and sort.
   * Too small: a view row for each message. Too big: lists show an old time.
   */
  presenceEveryMs: 60_000,
  /**
   * Open service calls of one device, bytes of all their inputs as JSON, and of one of them: all of it
   * is one actor's state. At the bound one more is refused.
   */
  callsPerDeviceMax: 64,
  callsBytesMax: 24_576,
  callInputBytesMax: 16_384,
  /** Bytes of an answer's output or error: a call is one row with both. */
  callOutputBytesMax: 32_768,
  /**
   * First pause before an unanswered call is sent again to the same connection, and the longest: it
   * doubles each time. Too small: slow devices are asked twice. New connections are sent it at once.
   */
  callResendMs: 10_000,
  callResendMsMax: 300_000,
  /** Longest that a caller may wait for an answer, and how far ahead a queued call may expire. */
  callTimeoutMsMax: 60_000,
  callExpiryMsMax: 30 * 86_400_000,
  /** Callers that wait for an answer at a time; one more gets 503. */
  callsWaitingMax: 10_000,
  /** Calls of one device that the view keeps; beyond it the oldest that have ended give way. */
  callsKeptMax: 200,
  /** Devices and products whose login and model are kept in memory by the directory. */
  loginCacheMax: 20_000,
  modelCacheMax: 1_000,
  /** Property names of an `open` product that are remembered as well-formed. */
  knownNamesMax: 1_000,

  /** Features (properties, events, services) of one thing model, each kind on its own. */
  featuresMax: 300,
  /** Bytes of one thing model as JSON. */
  modelBytesMax: 262_144,
  /** Versions of one product's model that are kept; the oldest give way. */
  modelVersionsMax: 50,
  /** Differences that are told of two models; breaking ones come first. */
  modelChangesMax: 200,
  /** Bytes of models in one page of products or of versions, but for its first. */
  modelPageBytesMax: 1024 * 1024,
  /** Nesting of struct and array types in a thing model. */
  typeDepthMax: 4,
  /** Sizes of one value: UTF-16 units of a text, items of an array, fields of a struct. */
  textCharactersMax: 10_240,
  arrayItemsMax: 512,
  structFieldsMax: 50,

  /** Addresses and names with failed logins that are remembered; the oldest give way. */
  lockoutEntriesMax: 10_000,
  /** Slow password hashes at once and waiting: each takes 32 MB and 100 ms of a core. */
  passwordHashesMax: 2,
  passwordHashesWaitingMax: 16,
  /** A session of a person ends this long after its login. */
  sessionMs: 12 * 3_600_000,
  /** API keys of one project, and sessions of one person; the oldest session gives way. */
  keysMax: 1_000,
  sessionsPerUserMax: 20,
  /** Browsers of one person whose failed logins count apart from all others'; the oldest gives way. */
  browsersPerUserMax: 20,
  /** Rows of one project's audit; the oldest give way, about 600 B each. */
  auditRowsMax: 200_000,
  /** Characters of what a row says of a request; longer ones are named only. */
  auditDetailCharactersMax: 2_048,
  /** Rows of refused requests a minute, of one caller's network and of all; more are only counted. */
  auditFailuresPerNetworkMax: 30,
  auditFailuresMax: 300,
  /** Projects of the installation, and users of one project. */
  projectsMax: 1_000,
  usersMax: 1_000,

  /** How long the first answer to an `Idempotency-Key` is kept: a client repeats within a day. */
  answersKeptMs: 24 * 3_600_000,
  /**
   * Answers kept of one project, and their bytes; at either bound new keys are refused, since a key
   * that is forgotten early would let its request do something twice.
   */
  answersKeptMax: 100_000,
  answersKeptBytesMax: 64 * 1024 * 1024,
  /** Characters of an `Idempotency-Key`. */
  idempotencyKeyCharactersMax: 128,
  /** Bytes of an API request's body; a route may take less. */
  httpBodyBytesMax: 1024 * 1024,
  /** Longest an API request's body may take to arrive. */
  httpBodyMs: 10_000,
  /** Requests of one kind (ingest, API) at a time; more get 503. Too small: a slow log refuses many. */
  httpInFlightMax: 10_000,
  /** Bodies being read, by announced length, of one kind (ingest, API). Holds slow senders in check. */
  httpReadingBytesMax: 32 * 1024 * 1024,
  /** Device logins kept by their header; beyond it the oldest is hashed again. About 500 B each. */
  httpLoginsCachedMax: 20_000,
  /** Posts a second of one device; a burst of twice that. */
  httpPostsPerSecondMax: 5_000,
  /** API requests a second of one key, session or address, and the burst on top. */
  httpRequestsPerSecondMax: 1_000,
  httpRequestsBurstMax: 2_000,
  /** Callers whose rate is remembered; the least recent gives way. */
  httpCallersMax: 10_000,
  /** Bytes of the console's files, each as it is and compressed twice, held in memory. */
  consoleBytesMax: 32 * 1024 * 1024,
  /** Longest an API request waits for an actor. */
  httpAskMs: 2_000,

  /**
   * Matching records of the log that wait for the live feed, bytes. At the bound they are dropped and
   * every feed is told of a gap.
   */
  tailBytesMax: 1024 * 1024,
  /** Open live feeds of all callers. At the bound a new one gets 503. About 10 kB each when idle. */
  liveFeedsMax: 1_000,
  /** Open live feeds of one key or person. */
  liveFeedsPerCallerMax: 100,
  /** Topics of one live feed. */
  liveTopicsMax: 64,
  /**
   * Events that one feed's reader may leave unread, and their bytes; an event that finds nothing
   * queued always fits. At the bound all are dropped and the reader is told `gap`.
   */
  liveQueueEventsMax: 1_000,
  liveQueueBytesMax: 128 * 1024,
  /** Newest events of all topics, kept for readers that come back with `Last-Event-ID`. */
  liveRingEventsMax: 10_000,
  liveRingBytesMax: 8 * 1024 * 1024,
  /**
   * A topic is followed this long after its last feed has gone, so that a reader who comes back
   * misses nothing. Too long: work that nobody looks at.
   */
  liveLingerMs: 30_000,
  /** Topics that linger; beyond it the longest abandoned is given up. */
  liveLingerTopicsMax: 1_000,
  /** A feed whose reader takes nothing of what waits for it is closed after this time. */
  liveStallMs: 30_000,
  /** How often the rights of open feeds are looked at again. */
  liveRecheckMs: 2_000,
  /** A comment line is sent into a feed that was silent this long. */
  liveHeartbeatMs: 15_000,

  /**
   * Connections that the kernel holds until they are accepted; its own bound may be lower. Too small: of
   * a fleet that comes back all at once most wait seconds, until their SYN is sent again.
   */
  mqttBacklogMax: 4_096,
  /** Sockets of the MQTT gateway, logged in or not. At the bound a new one is closed at once. */
  mqttConnectionsMax: 50_000,
  /**
   * Sockets of one network (`networkOf`) that have not logged in; for one more the oldest is closed, if
   * it is older than `mqttStrangerMs`. Logged-in devices are not counted: many live behind one address.
   * Too big: one address can hold many sockets for `mqttConnectMsMax`.
   */
  mqttStrangersPerNetworkMax: 1_024,
  /**
   * The same with those that came just now, for which the oldest is closed whatever its age. Too small:
   * of a fleet that comes back all at once some lose their sockets before their CONNECT was read.
   */
  mqttFreshStrangersPerNetworkMax: 8_192,
  /** What a new socket has for its login (TLS handshake, CONNECT) before it has to give way. */
  mqttStrangerMs: 2_000,
  /** Bytes of a CONNECT, and all that a peer without a login may make us keep. */
  mqttConnectBytesMax: 4_096,
  /** Longest a socket may stay without a login. */
  mqttConnectMsMax: 10_000,
  /** Topic, properties and header of a packet on top of `payloadBytesMax`. */
  mqttOverheadBytesMax: 8_192,
  /**
   * Unacknowledged QoS 1 and 2 messages of one MQTT 5 client; more is a protocol error of it. Too
   * small: clients that ignore it (mqtt.js 5.16, mosquitto bridges) are disconnected in each burst.
   */
  mqttReceiveMaximum: 1_000,
  /** The same for MQTT 3.1.1, which has no window: beyond it the socket is not read. */
  mqttUnackedMax: 1_000,
  /** Unacknowledged bytes of one connection, beyond which its socket is not read. */
  mqttUnackedBytesMax: 256 * 1024,
  /** Whole packets kept for one connection while the log has no room; then it is not read. */
  mqttHeldBytesMax: 64 * 1024,
  /** Partial and held packets of all connections; beyond it, holding connections are not read. */
  mqttBufferedBytesMax: 32 * 1024 * 1024,
  /** Bytes a peer may leave unread before it is not read either. */
  mqttUnreadBytesMax: 256 * 1024,
  /** Longest session expiry granted, and that of a lasting MQTT 3.1.1 session. */
  mqttSessionExpirySecondsMax: 7 * 86_400,
  /** Longest keep-alive granted to MQTT 5 clients that ask for none or a longer one. */
  mqttKeepAliveSecondsMax: 3_600,
  /** Topic aliases of one MQTT 5 connection, each with a topic of at most `mqttFilterCharactersMax`. */
  mqttTopicAliasMax: 16,
  /** Properties of one message that are kept with it (user properties and such), bytes as JSON. */
  mqttCarriedBytesMax: 4_096,
  /** Copies of a device's own messages, kept and retained ones, that wait for it. */
  mqttCopiesMax: 64,
  /** Their bytes, of one session and of all in memory; one alone may be as large as a message. */
  mqttCopyBytesMax: 64 * 1024,
  mqttCopiesBytesMax: 32 * 1024 * 1024,
  /** Subscriptions of one session, each filter of at most `mqttFilterCharactersMax`. */
  mqttSubscriptionsMax: 32,
  mqttFilterCharactersMax: 512,
  /** Unacknowledged QoS 1 downlinks of one session, sent and queued. */
  mqttDownlinksMax: 32,
  /**
   * Connected devices a second whose actors are told again after a restart of the log, at most two
   * records each. Too big: the log is busy with it; too small: desired values that were lost wait.
   */
  mqttRetellsPerSecondMax: 2_000,
  /**
   * Session rows that the gateway looks at in one step, one a second, for expired ones. Too small: a
   * million rows take days; too big: appends wait behind a page.
   */
  mqttSessionPageRows: 256,
  /**
   * Wills in memory, of connected devices and of absent ones whose delay runs. Each came in a CONNECT
   * (`mqttConnectBytesMax`). At the bound a CONNECT with one is refused.
   */
  mqttWillBytesMax: 32 * 1024 * 1024,
  /** Wills published a second at most: a node that died leaves one for each device. */
  mqttWillsPerSecondMax: 2_000,
  /** Rows of wills read in one step at the start. */
  mqttWillPageRows: 1_000,
  /** Sessions of absent devices kept in memory; the others are read from their rows. */
  mqttAwaySessionsMax: 10_000,
  /** Failed logins of one network within a minute, after which it is refused unheard. */
  loginFailuresMax: 10,
  /** Networks whose failed logins are counted; the oldest gives way. */
  loginFailureAddressesMax: 10_000,
} as const;

assert(
  LIMITS.commitBytesMax >= 2 * LIMITS.stateBytesMax + LIMITS.payloadBytesMax,
  "commitBytesMax must hold one full state, its page and one record",
);
assert(
  LIMITS.callsBytesMax + LIMITS.callsPerDeviceMax * 600 + 1_024 <= LIMITS.stateBytesMax,
  "stateBytesMax must hold the open calls of a device",
);
assert(
  LIMITS.callInputBytesMax + LIMITS.callOutputBytesMax + 2_048 <= LIMITS.payloadBytesMax,
  "payloadBytesMax must hold the row of a call",
);
assert(
  LIMITS.batchMessagesMax >= LIMITS.budgetPerRootRecord,
  "batchMessagesMax must hold what one root record may cause",
);
assert(
  LIMITS.unacknowledgedBytesMax >= 8 * LIMITS.appendBytesMax,
  "unacknowledgedBytesMax must hold several appends",
);
assert(
  LIMITS.appendBytesMax >= 2 * LIMITS.payloadBytesMax,
  "appendBytesMax must hold the largest record",
);
assert(
  LIMITS.hotRowsMax >= LIMITS.compactAtRows + LIMITS.compactionRowsMax,
  "hotRowsMax must leave room to write while a run of compaction is under way",
);
assert(
  LIMITS.stepBytesMax >= LIMITS.appendBytesMax && LIMITS.walBytesMax >= 2 * LIMITS.stepBytesMax,
  "stepBytesMax must hold an append, walBytesMax must hold steps",
);
assert(
  LIMITS.engineLoopMs < LIMITS.engineStallMs,
  "an engine must find its own loop before it is killed for it",
);
assert(
  LIMITS.stepBytesMax > LIMITS.replayLettersMax * LIMITS.payloadBytesMax,
  "stepBytesMax must hold a step of a replay",
);
assert(
  LIMITS.acknowledgeMsMax > 2 * LIMITS.engineStallMs,
  "a stuck engine must not cost connections",
);
assert(
  LIMITS.mqttBufferedBytesMax >= 16 * (LIMITS.payloadBytesMax + LIMITS.mqttOverheadBytesMax),
  "mqttBufferedBytesMax must hold several packets",
);
assert(
  128 + LIMITS.mqttSubscriptionsMax * (2 * LIMITS.mqttFilterCharactersMax + 80) +
      (LIMITS.mqttUnackedMax + LIMITS.mqttCopiesMax) * 6 < 65_536,
  "a session must fit into its row",
);
assert(
  LIMITS.answersKeptBytesMax >= 32 * LIMITS.httpBodyBytesMax,
  "answersKeptBytesMax must hold many of the largest answers",
);
