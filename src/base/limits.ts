// Every bound of the product: its unit is the last word of its name, its reason stands beside it.
// A request over a bound gets a code of errors.ts; nothing here is tuned at run time.

// Names and policy.
export const HOST_BYTES_MAX = 253; // RFC 1035 section 2.3.4, without the root label.
export const LABEL_BYTES_MAX = 63; // RFC 1035 section 2.3.4.
export const RULE_ID_BYTES_MAX = 64; // A UUID is 36; preset names are at most 32.
export const RULES_MAX = 1_048_575; // 20 bits of rule index in the image; the design asks for 10^6.
export const RULE_RESOURCES_MAX = 10_000; // One command line cannot carry more (ARG_MAX).
export const KIT_ENTRIES_MAX = 10_000; // Of one list of a kit; real ones have dozens.
export const KIT_PATHS_MAX = 1_024; // Of all its HTTP rules: each request to a host is held against every path for it.
export const KIT_NAME_CHARACTERS_MAX = 512; // Of several kits together; one has a few words.
export const SANDBOXES_MAX = 100_000;
export const SANDBOX_NAME_BYTES_MAX = 63; // A DNS label, so that it can be a host name later.
export const IMAGE_BYTES_MAX = 1_073_741_824; // Two images and the lanes stay below 4 GiB of Wasm.
export const PUBLISH_WAIT_MS_MAX = 5_000; // A match takes microseconds; a lane stuck so long is a defect.
export const COVERS_STEPS_MAX = 4_096; // States of two globs laid side by side; past this it counts as unproven.
export const EXPLAINED_RULES_MAX = 200; // Listed by `policy explain`; more of them nobody reads.
export const LINT_COMPARISONS_MAX = 50_000_000; // Pairs of resources; real policies need a few for each.
export const LINT_FINDINGS_MAX = 500; // Printed by `policy lint`; the number of all is told.
export const NEAR_RULES_MAX = 3; // What nearly matched: more would bury the one that was meant.
export const EXPLAIN_SLICE_MAX = 5_000; // Rules looked at before the daemon turns to others.
export const WITNESS_TRIES_MAX = 3_000; // Requests tried for one change of a policy; of those found in generated policies, 99 in 100 are among the first 330.
export const WITNESS_NEIGHBOURS_MAX = 500; // Rules that are looked at for it.
export const WITNESS_NAMES_MAX = 16; // Names that are tried with addresses.
export const WITNESS_SCOPES_MAX = 32; // Sandboxes that it is tried for.
export const REPLAY_ROWS_MAX = 1_000; // Kinds of exchanges told of by `policy replay`; all are counted.
export const SEEN_MAX = 10_000; // Destinations and requests that `policy suggest` makes rules of; more is no policy.
export const SUGGEST_NOTES_MAX = 50; // Lines on what it does not suggest.
export const APPLIED_CHANGES_MAX = 1_000; // Told of one application; their number is told in any case.
export const DOCUMENT_BYTES_MAX = 16_777_216; // Half a million rules; a parsed file takes a hundred times its size.
export const DOCUMENT_FAULTS_MAX = 50; // Told at once; a file of another kind has thousands.

// Approvals.
export const APPROVALS_KEPT_MAX = 1_000; // Destinations that wait for an answer; the oldest is forgotten for a new one.
export const APPROVALS_PER_SANDBOX_MAX = 100; // So that one sandbox cannot bury the questions of others.
export const APPROVALS_WAITING_MAX = 256; // Requests held at one time, of all sandboxes.
export const APPROVALS_WAITING_PER_SANDBOX_MAX = 32;
export const APPROVAL_WAIT_MS_MAX = 300_000; // Clients give up sooner; a proxy that drains should not wait longer.
export const APPROVAL_ONCE_MS = 300_000; // How long leave for one request waits for that request.
export const APPROVAL_LIFE_MS_MIN = 1_000; // Of a rule that ends by itself.
export const APPROVAL_LIFE_MS_MAX = 2_592_000_000; // 30 days; whoever needs longer means always.
export const EXPIRY_LOOK_MS = 30_000; // Between two looks at rules that end: the clock may be set meanwhile.

// Pages opened on the host for a sandbox.
export const BROWSER_URL_BYTES_MAX = 8_192; // Sign-in pages take 2 KiB; programs take more, but not all.
export const BROWSER_OPENS_PER_MINUTE_MAX = 10; // Of one sandbox; a person asks for one at a time.
export const BROWSER_RUNNING_MAX = 64; // Programs that were started and have not ended: some are the browser.
export const BROWSER_START_MS = 5_000; // A program that runs so long has not failed to start.

// Filesystem rules.
export const FILE_PATH_BYTES_MAX = 4_096; // PATH_MAX of Linux.
export const FILE_SEGMENTS_MAX = 128; // Of a path, or a pattern; real ones are a tenth as deep.
export const FILE_PATTERN_BYTES_MAX = 1_024;
export const FILE_RULE_PATTERNS_MAX = 256; // Of one rule.
export const FILE_PATTERNS_MAX = 10_000; // Of all rules together: every mount is compared with each.
export const FILE_RESOLVE_MS = 5_000; // For all paths of one question; a dead network mount hangs for ever.
export const FILE_RESOLVING_MAX = 2; // Threads that name look-ups need, too, and Node alone has four.
export const FILE_RESOLVE_WAITING_MAX = 64; // Questions that wait for one of these.

// Secrets.
export const SECRETS_MAX = 10_000; // Every worker holds them all.
export const SECRET_VALUE_BYTES_MAX = 65_536; // A head holds no more; also what a command may write.
export const SECRET_HOSTS_MAX = 256; // Of one custom secret; each request is compared with them.
export const SECRET_NAME_BYTES_MAX = 128; // Environment variables and user names; real ones are far shorter.
export const SECRET_PLACEHOLDER_BYTES_MIN = 8; // A shorter one would be found by chance.
export const SECRET_PLACEHOLDER_BYTES_MAX = 256; // As long as the longest tokens that programs check the form of.
export const SECRET_COMMAND_BYTES_MAX = 4_096; // A longer one belongs into a script.
export const SECRET_COMMAND_TIMEOUT_MS = 30_000; // A vault over the network answers in seconds.
export const SECRET_REFRESH_MS = 3_300_000; // Tokens of clouds live for an hour; renewed before that, as sbx does.
export const SECRET_REFRESH_MS_MIN = 10_000; // Oftener would only keep the machine busy.
export const SECRET_REFRESH_MS_MAX = 86_400_000; // A day; setTimeout itself ends at 24.8 days.
export const SECRET_DEMAND_MS = 5_000; // A worker asks the daemon again, which may have a value that is young enough.
export const SECRET_ON_DEMAND_MS = 30_000; // How long a value fetched on demand serves the next ones.
export const SECRET_RETRY_MS = 60_000; // After a command has failed.
export const SECRET_COMMAND_RETRY_MS = 5_000; // One that failed on demand is left alone for so long: requests could run it without end.
export const KEYCHAIN_TIMEOUT_MS = 5_000; // It answers in 0.2 s, but later while a machine boots; a person may be waited for, for ever.
export const KEYCHAIN_OUTPUT_BYTES_MAX = 4_096; // A key and its attributes take 300.

// OAuth towards token endpoints.
export const OAUTH_TIMEOUT_MS = 15_000; // From the name's look-up to the last byte; as for connecting to a destination.
export const OAUTH_ANSWER_BYTES_MAX = 65_536; // Tokens with their claims take a few KiB.
export const OAUTH_EARLY_MS = 60_000; // An access token is renewed so long before it ends: clocks differ, requests take time.
export const OAUTH_LIFE_MS = 600_000; // Of an access token whose end is not told (RFC 6749 section 5.1 leaves it open).
export const OAUTH_LIFE_MS_MAX = 86_400_000; // Renewed once a day at least, whatever is told.
export const OAUTH_RETRY_MS = 5_000; // A token endpoint that failed is left alone for so long.
export const OAUTH_ANSWER_DEPTH_MAX = 32; // Objects within objects; real answers have two or three.
export const OAUTH_SIGNED_IN_MS = 3_600_000; // What a sandbox is told its token lives; it is renewed behind its back.
export const OAUTH_SCOPE_BYTES_MAX = 4_096; // Real ones list dozens of URLs at most.

// Workers.
export const WORKERS_MAX = 63; // One lane each, and one for the daemon.
export const CONFIGURE_WAIT_MS_MAX = 10_000; // New listeners open in milliseconds; a worker that takes so long hangs.
export const WORKER_RESTARTS_PER_MINUTE_MAX = 60; // Past this the host is broken, not the worker.
export const EXCHANGES_PER_WORKER_MAX = 16_384; // In-flight slots; no free slot means 503.
export const PERMITS_PER_NAME_MAX = 64; // Vetted address lists kept per resolved name.

// HTTP/1.1 ingress (RFC 9112).
export const HEAD_BYTES_MAX = 65_536; // Cookies of large sites reach 16 KiB; four times that.
export const TARGET_BYTES_MAX = 32_768; // Half of the head.
export const FIELDS_MAX = 256; // Node's own default is 2000; field floods cost CPU.
export const CHUNK_LINE_BYTES_MAX = 1_024; // Size and extensions; CVE-2024-22019 had no bound.
export const TRAILER_BYTES_MAX = 16_384;
export const CONTENT_HELD_BYTES_MAX = 65_536; // Of a request, read ahead of whoever sends it on; what is on its way comes on top.
export const CONTENT_BLOCK_BYTES = 16_384; // What small pieces are put together to.
export const CONTENT_PIECE_BYTES_MIN = 4_096; // Smaller ones are put together. What TLS cuts a frame of 16 KiB to is not: bulk would pay for the copies.
export const CONTENT_REST_BYTES = 256; // Room for the few bytes that such cuts leave over, before a block is made for more.
export const CONNECTIONS_PER_WORKER_MAX = 20_000;
export const HEAD_TIMEOUT_MS = 30_000; // From the first byte of a head to its last (slowloris).
export const KEEP_ALIVE_TIMEOUT_MS = 75_000; // Idle client connection; squid uses 120 s, nginx 75 s.
export const LINGER_MS = 5_000; // After our last word, for the client to take it and go.
export const SWEEP_MS = 1_000; // Resolution of the time-outs above.
export const BODY_IDLE_TIMEOUT_MS = 300_000; // No byte either way within one exchange.
export const EXCHANGE_IDLE_TIMEOUT_MS = 600_000; // The same as the client's side sees it; the upstream's comes first and has a code.
export const TUNNEL_IDLE_TIMEOUT_MS = 3_600_000; // Long-lived sockets are common in tunnels.
export const HALF_CLOSED_TIMEOUT_MS = 300_000; // One direction ended, the other silent.

// Tunnels.
export const TUNNEL_WATCH_MS = 60_000; // How often a tunnel looks whether it is idle.
export const TUNNEL_READ_BYTES_MIN = 16_384; // What an idle tunnel holds.
export const TUNNEL_FRESH_BYTES_MAX = 262_144; // Then it is bulk, and worth a buffer of its own.
export const TUNNEL_READ_BYTES_MAX = 524_288; // Past this, bulk CPU per GB no longer falls.
export const TUNNEL_BUFFERS_SPARE_MAX = 256; // Per worker: 4 MiB kept for the next tunnels.
export const TUNNEL_BUFFERS_LARGE_MAX = 128; // Per worker: 64 MiB in all.

// Upstream.
export const CONNECT_TIMEOUT_MS = 15_000; // For all addresses together.
export const ATTEMPT_DELAY_MS = 250; // RFC 8305 section 5, Connection Attempt Delay.
export const RESPONSE_HEAD_TIMEOUT_MS = 300_000; // Slow APIs think for minutes before the head.
export const POOLS_PER_WORKER_MAX = 512;
export const POOL_CONNECTIONS_MAX = 256;
export const POOL_IDLE_MS = 10_000; // Origins commonly close at 5 to 15 s.

// TLS and HTTP/2.
export const CLIENT_HELLO_BYTES_MAX = 16_384; // Post-quantum key shares take 2 KiB; 8 times that.
export const EARLY_DATA_BYTES_MAX = 65_536; // Servers that turn it down pass over 16 KiB at most before the second ClientHello.
export const CLIENT_HELLO_TIMEOUT_MS = 10_000; // From our 200 to a whole ClientHello.
export const HANDSHAKE_TIMEOUT_MS = 15_000;
export const AUTHORITY_LIFE_MS = 63_072_000_000; // Two years: long enough to be built into images, short enough to be replaced.
export const AUTHORITY_RENEWAL_MS = 5_184_000_000; // 60 days: before its end, for images to be built anew.
export const LEAF_LIFE_MS = 604_800_000; // A week: short, so that a stolen leaf key is soon worthless; a leaf costs little.
export const LEAVES_MAX = 1_024; // Contexts kept per worker, about 50 KiB each.
export const TICKET_KEYS_MS = 43_200_000; // Half a day, for the keys that resume sessions.
export const TLS_SESSIONS_MAX = 1_024; // Upstream sessions kept for resumption, per worker.
export const HTTP2_STREAMS_MAX = 128; // At one time on one client connection; browsers use 100.
export const HTTP2_SESSION_BYTES_MAX = 8_388_608; // Per connection, all streams' heads and queued frames.
export const HTTP2_WINDOW_BYTES = 262_144; // Per stream; 64 KiB would bound a transfer by the round trip.
export const HTTP2_RESETS_BURST_MAX = 200; // Streams a client may reset at once (CVE-2023-44487) ...
export const HTTP2_RESETS_PER_SECOND_MAX = 50; // ... and lastingly.
export const HTTP2_INVALID_FRAMES_MAX = 20;
export const HTTP2_SETTINGS_ENTRIES_MAX = 32;
export const HTTP2_PINGS_MAX = 10; // Unanswered.
export const HTTP2_CONTROLS_PER_SECOND_MAX = 10_000; // PING and SETTINGS; gRPC measures the way with one PING a round trip.
export const HTTP2_UNSERVED_STREAMS_MAX = 200; // Refused before they are requests (field lists that are too long), beside one a second.
export const HTTP2_ORIGINS_MAX = 512; // Per worker: connections, and what is remembered of who speaks it.
export const HTTP2_UNKNOWN_MS = 600_000; // How long "speaks HTTP/1.1 only" is believed.

// Credentials.
export const BOUND_HOSTS_KEPT_MAX = 4_096; // Destinations whose credentials a worker need not look up.
export const SCRUB_VALUE_BYTES_MIN = 8; // Shorter secrets would be found in what is none.
export const SCRUB_HELD_BYTES_MIN = 4; // Fewer letters of a secret go on at once: a stream may end with them by chance.
export const SCRUB_HELD_MS = 250; // How long more of them wait for the rest.
export const SCRUB_PARTIAL_BYTES_MIN = 16; // So much of a secret at the end of content is hidden, too.
export const SCRUB_DECODED_BYTES_MAX = 67_108_864; // Of decoded content; more of it only at a ratio that honest content has.
export const SCRUB_RATIO_MAX = 100; // Decoded to coded bytes beyond that: no zip bomb is unpacked for a client.
export const SCRUB_ZSTD_WINDOW_LOG_MAX = 23; // 8 MiB, which is all that content may want (RFC 9659).
export const SUBSTITUTED_CONTENT_BYTES_MAX = 1_048_576; // Of a request, where placeholders are looked for.
export const SUBSTITUTED_SECRETS_BYTES_MAX = 1_048_576; // Put into the fields and query, or the content, of a request: a placeholder is short, a secret need not be.

// HTTP rules.
export const HTTP_PATHS_MAX = 64; // Of one rule.
export const HTTP_PATH_PATTERN_BYTES_MAX = 512;
export const HTTP_PATH_BYTES_MAX = 8_192; // Of a request whose path is judged; longer ones are refused.

// Certificates of destinations.
export const OCSP_BYTES_MAX = 16_384; // With the certificate of a delegated responder, real ones take 2 KiB.
export const OCSP_SKEW_MS = 300_000; // A responder's clock may be ahead of ours.
export const TLS_SESSION_MS_MAX = 3_600_000; // A certificate is looked at anew at least this often.

// Client certificates.
export const CLIENT_CERTIFICATES_MAX = 64; // A context of TLS each: 1.5 MiB per worker, and 20 ms when it is first used.
export const CLIENT_CERTIFICATE_FILE_BYTES_MAX = 262_144; // A chain and a key have a tenth of it.
export const SECRET_FILE_BYTES_MAX = 65_536; // A key or a token that a setting names the file of; they have a tenth of it.
export const CLIENT_CERTIFICATE_SOON_MS = 2_592_000_000; // 30 days: time enough to have a new one issued.

// Logins to container registries.
export const REGISTRY_LOGIN_TIMEOUT_MS = 20_000; // Challenge and token together; clients wait for minutes.
export const REGISTRY_ANSWER_BYTES_MAX = 65_536; // A token with room to spare; it must fit into a head.
export const REGISTRY_TOKEN_BYTES_MAX = 32_768; // Half a head. Tokens of many scopes reach 8 KiB.
export const REGISTRY_TOKEN_MS = 60_000; // Life of a token that tells none, by its specification.
export const REGISTRY_TOKEN_MS_MAX = 900_000; // So that what was revoked there is soon not used here.
export const REGISTRY_TOKEN_LEEWAY_MS = 10_000; // Off its life: it still has to get there.
export const REGISTRY_CHALLENGE_MS = 600_000; // How long a registry's way to log in is believed.
export const REGISTRY_RETRY_MS = 5_000; // A login that failed is not tried again: accounts get locked.
export const REGISTRY_KEPT_MAX = 1_024; // Tokens of one secret, per worker.

// DNS.
export const DNS_TIMEOUT_MS = 10_000;
export const DNS_LOOKUPS_PER_SANDBOX_MAX = 16; // Under way at one time, in all workers: half of what the threads below can.
export const DNS_WAITING_PER_SANDBOX_MAX = 256; // Names, in each worker.
export const POOL_THREADS_MAX = 64; // Of the daemon's process; libuv gives half of them to look-ups of names.
export const DNS_CACHE_ENTRIES_MAX = 4_096;
export const DNS_TTL_MS = 30_000; // getaddrinfo gives no TTL; a fixed short one, as browsers do.
export const DNS_NEGATIVE_TTL_MS = 2_000;
export const DNS_ADDRESSES_MAX = 32;

// Audit.
export const SLOT_RETRY_MS = 5; // How soon an exchange that found no free slot asks again.
export const OUTCOME_BATCH_MS = 20; // Worker to daemon.
export const OUTCOME_BATCH_MAX = 512;
export const AUDIT_PATH_BYTES_MAX = 512; // Of a path in a record; real ones are shorter, hostile ones reach 32 KiB.
export const AUDIT_LINE_BYTES_MAX = 1_048_576; // Read by `audit verify`; ours stay below 70 KiB.
export const AUDIT_TEXTS_MAX = 2_048; // Strings of records whose JSON is kept; forgotten all at once.
export const AUDIT_FLUSH_MS = 50; // Daemon to file; with the batch, under the stated 100 ms.
export const AUDIT_FILE_BYTES_MAX = 104_857_600; // Rotation.
export const AUDIT_FILE_MS_MAX = 86_400_000; // A day: records go with their file, so it must not hold too many of them.
export const AUDIT_KEEP_BYTES = 2_147_483_648; // Unless set; four million records.
export const AUDIT_KEEP_BYTES_MIN = 209_715_200; // Two files: the one in use is never deleted.
export const AUDIT_KEEP_MS = 7_776_000_000; // 90 days, unless set, as long as sbx keeps its own in the cloud.
export const KEEP_LOOK_MS = 3_600_000; // How often it is looked for what is too old.
export const AUDIT_BUFFER_BYTES = 65_536; // Written at once when so much waits, not at the next flush.
export const AUDIT_RETRY_MS = 1_000; // After a failed write (disk full); nothing is acknowledged meanwhile.
export const AUDIT_STALL_MS = 5_000; // A write that takes longer counts as failed until it is done.
export const AUDIT_QUEUE_BYTES_MAX = 16_777_216; // With best effort: kept while the disk refuses; then records are lost.
export const AUDIT_CHECKPOINT_MS = 60_000; // How long a record is without a signature.
export const AUDIT_CHECKPOINT_RECORDS_MAX = 10_000; // How many are; a signature takes 50 us.
export const AUDIT_CLOSE_MS = 5_000; // A daemon that ends waits so long for a disk that refuses.
export const SLOT_WAIT_MS_MAX = 5_000; // An exchange that cannot be recorded waits so long, then it is refused.
export const LOG_KEEP_MS = 2_592_000_000; // 30 days, unless set: rows that were not seen since.
export const LOG_ROWS_MAX = 100_000; // Aggregated rows of `policy log`; the oldest leave first.

// Control API.
export const API_BODY_BYTES_MAX = 268_435_456; // 10^6 rules in one request.
export const API_SOCKET_PATH_BYTES_MAX = 100; // sun_path holds 108 on Linux, 104 on macOS.
export const API_CONNECTIONS_MAX = 1_024; // Commands are short; a script that runs many at once fits.
export const API_REQUEST_TIMEOUT_MS = 120_000; // From the first byte to the last; 10^6 rules take seconds.
export const API_TOKEN_BYTES_MIN = 32; // A TCP listener's bearer token, so that guessing is hopeless.
export const POLICY_CHANGES_WAITING_MAX = 4_096; // Changes that wait for the one being published.
export const INSPECTED_RULES_MAX = 10_000; // Of one policy; a listing streams, this does not.
export const FOLLOWERS_MAX = 64; // Readers of `policy log --follow` at one time.
export const FOLLOW_QUEUE_BYTES_MAX = 1_048_576; // Per reader; a reader that falls behind so far is cut.
export const DRAIN_TIMEOUT_MS = 30_000;
export const DRAIN_TIMEOUT_MS_MAX = 86_400_000; // A day; setTimeout itself ends at 24.8 days.
export const SETTINGS_WATCH_MS = 2_000; // Between two looks at the file: an edit by hand is soon in force.
export const LOCK_WAIT_MS = 30_000; // A start waits so long for another that is ending or just beginning.
export const LOCK_RETRY_MS = 50; // Between two looks at it.
export const DAEMON_LOG_BYTES_MAX = 10_485_760; // daemon.log and one older file.
export const DAEMON_LOG_TAIL_BYTES = 4_096; // Shown when a daemon does not come up.

// Governance by an organisation.
export const GOVERNANCE_POLICIES_MAX = 100; // Of one organisation, as the public API has it.
export const GOVERNANCE_RULES_MAX = 250; // Of one policy, likewise.
export const GOVERNANCE_POLICY_BYTES_MAX = 400_000; // Of one policy, likewise.
export const GOVERNANCE_RESOURCES_MAX = 10_000; // Of one rule; its policy's bytes hold no more.
export const GOVERNANCE_TEAMS_MAX = 100; // That one policy is for, or one daemon is of.
export const GOVERNANCE_NAME_CHARACTERS_MAX = 128; // Of an organisation, a policy, a rule, a team.
export const GOVERNANCE_ID_BYTES_MAX = 52; // Leaves room in a rule's id for the parts it is taken over in.
export const GOVERNANCE_SUPPORT_CHARACTERS_MAX = 500; // Of the support message, as sbx has it.
export const GOVERNANCE_PAGE_MAX = 100; // Policies of one page, as the public API has it.
export const GOVERNANCE_PAGES_MAX = 10; // A server that gives smaller ones than it was asked for.
export const GOVERNANCE_ANSWER_BYTES_MAX = 1_048_576; // A policy with room to spare.
export const GOVERNANCE_REQUEST_TIMEOUT_MS = 15_000; // One request.
export const GOVERNANCE_SYNC_TIMEOUT_MS = 120_000; // All requests of one look, of 100 policies at a slow server.
export const GOVERNANCE_REQUESTS_MAX = 8; // Of one look at one time.
export const GOVERNANCE_LOOKS_MAX = 3; // When policies change while they are read.
export const GOVERNANCE_TOKEN_BYTES_MAX = 16_384; // JWTs of real services take 4 KiB.
export const GOVERNANCE_INTERVAL_MS = 60_000; // Between two looks; sbx promises five minutes.
export const GOVERNANCE_INTERVAL_MS_MIN = 1_000; // Oftener would only keep the server busy.
export const GOVERNANCE_INTERVAL_MS_MAX = 3_600_000; // A withdrawn grant must not last for longer.
export const GOVERNANCE_STALE_MS = 300_000; // No success for longer: worth a look by a person.
export const GOVERNANCE_GRACE_MS = 86_400_000; // What was granted last holds for a day without a word, for a server may be down overnight.
export const GOVERNANCE_START_MS = 5_000; // How long a start waits for the first word.
export const GOVERNANCE_DOCUMENT_BYTES_MAX = 50_331_648; // 100 policies of 400 KB in one signed file, and 8 MB more.
export const GOVERNANCE_TOKENS_MAX = 10_000; // Of one server: one for each machine of a large fleet.
export const GOVERNANCE_AUDIT_DEFAULT_MAX = 100_000; // Of one server's record of changes: 27 a day for ten years, some 200 MB of rules.
export const GOVERNANCE_AUDIT_ROWS_MIN = 1_000; // With fewer, one script of changes would push out who did it.
export const GOVERNANCE_AUDIT_ROWS_MAX = 10_000_000; // Of rules, 20 GB.
export const GOVERNANCE_BODY_BYTES_MAX = 1_048_576; // A rule; its policy may have 400 KB.
export const GOVERNANCE_CONNECTIONS_MAX = 10_000; // Daemons of a large fleet, asking at one time.
export const GOVERNANCE_SERVE_TIMEOUT_MS = 30_000; // From the first byte of a request to its last.
