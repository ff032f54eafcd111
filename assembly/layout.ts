// The shared memory and the policy image, byte by byte: the contract between the compiler in
// src/policy, the publisher and lanes in src/matcher, and the matcher beside this file. All import
// these numbers; nobody repeats one. Plain `const` without a type, so that both tsc and asc read
// it. Little-endian; every offset inside an image counts from the image's own first byte.
//
//   0        ┌────────────────────────────────────────────┐
//            │ control   sequence, two image descriptors  │  written by the publisher alone
//   64 KiB   ├────────────────────────────────────────────┤
//            │ lanes     LANES_MAX x 512 KiB              │  one per thread: question in, verdict out
//   32 MiB   ├────────────────────────────────────────────┤
//            │ images    the active one, and room beside  │  grows with the policy
//   4 GiB    └────────────────────────────────────────────┘
//
// Nothing else may live here: each thread instantiates the module over this same memory, and a
// data segment is copied in again at every instantiation. A static string or table in the matcher
// would overwrite live bytes, so scripts/check-wasm.ts fails the build if there is one.

export const PAGE_BYTES = 65536;
export const MEMORY_PAGES_MIN = 513; // Control and lanes; asconfig.json repeats it.
export const MEMORY_PAGES_MAX = 65536;

// Control. The lowest bit of the sequence selects a descriptor, so one atomic store moves every
// reader from one image, length and generation to the next. Sequence 0: nothing published yet.
export const CONTROL_SEQUENCE = 0;
export const CONTROL_DESCRIPTORS = 64;
export const DESCRIPTOR_BYTES = 64; // A cache line each.
export const DESCRIPTOR_BASE = 0; // u32, absolute; 0 for no image
export const DESCRIPTOR_LENGTH = 4; // u32, bytes
export const DESCRIPTOR_GENERATION = 8; // u32

// Lane. The epoch is odd exactly while its thread is inside a match. The tags say which rule ids
// the thread already has as strings, so that an id is copied out only once.
//
//   0       64                   192       256    512      4 KiB  12 KiB  256 KiB  512 KiB
//   ├───────┼────────────────────┼─────────┼──────┼────────┼──────┼───────┼────────┤
//   │ epoch │ verdict, rule id   │ address │ host │ method │ path │ free  │ tags   │
export const LANES_MAX = 64;
export const LANES_BASE = 65536;
export const LANE_BYTES = 524288;
export const LANE_EPOCH = 0; // u32, atomic
export const LANE_GENERATION = 64; // u32, of the image that answered
export const LANE_SOURCE = 68; // u32, SOURCE_*
export const LANE_RULE_ID_LENGTH = 72; // u32
export const LANE_TAGS_GENERATION = 76; // u32, of the image that the tags belong to
export const LANE_RULE_ID = 80; // up to 64 bytes
export const LANE_ADDRESS = 192; // 4 x u32, each in numeric order; IPv4 in the first
export const LANE_HOST = 256; // up to 253 bytes
export const LANE_METHOD = 512; // u32, one bit
export const LANE_PATH_LENGTH = 516; // u32
export const LANE_PATH = 4096; // up to LANE_PATH_BYTES
export const LANE_PATH_BYTES = 8192;
export const LANE_TAGS = 262144; // u32 x LANE_TAGS_COUNT: rule index + 1
export const LANE_TAGS_COUNT = 65536; // Ids a thread keeps, some 6 MiB of strings; a power of two.

export const IMAGES_BASE = 33619968; // LANES_BASE + LANES_MAX * LANE_BYTES
export const IMAGE_ALIGN = 64;

// Arguments and result of match().
export const ASK_TCP = 1;
export const ASK_UDP = 2;
export const ASK_NAMED_ONLY = 4;
export const ASK_IPV4 = 8;
export const ASK_IPV6 = 16;
export const ASK_HTTP = 32; // The lane has a method and a path.
export const ANSWER_RULE_MASK = 0xfffff; // Index into the rule table.
export const ANSWER_ALLOW = 0x100000;
export const ANSWER_EXPLICIT = 0x200000;
export const ANSWER_FRESH = 0x400000; // The lane holds the rule's id and source; keep them.
export const ANSWER_HTTP = 0x800000; // HTTP rules cover the host, whether they cover the request or not.

// Image: header, then the regions in this order.
//
//   ┌────────┬───────┬────────┬───────┬───────┬───────┬───────┐
//   │ header │ words │ scopes │ slots │ nodes │ cidrs │ rules │
//   └────────┴───────┴────────┴───────┴───────┴───────┴───────┘
export const IMAGE_MAGIC = 0x53505931;
export const HEADER_BYTES = 64;
export const HEADER_MAGIC = 0; // u32
export const HEADER_LENGTH = 4; // u32, of the whole image
export const HEADER_GENERATION = 8; // u32
export const HEADER_SCOPES = 12; // u32 offset
export const HEADER_SCOPE_COUNT = 16; // u32
export const HEADER_SLOTS = 20; // u32 offset
export const HEADER_SLOT_MASK = 24; // u32, slots - 1
export const HEADER_NODES = 28; // u32 offset
export const HEADER_CIDRS = 32; // u32 offset
export const HEADER_RULES = 36; // u32 offset
export const HEADER_RULE_COUNT = 40; // u32
export const HEADER_RULE_BYTES = 44; // u32, of one rule record

// Scope: sorted by number, found by binary search. What a scope lacks is 0.
export const SCOPE_BYTES = 24;
export const SCOPE_NUMBER = 0; // u32
export const SCOPE_ANY = 4; // set
export const SCOPE_HOSTS = 8; // node of the root label
export const SCOPE_HOSTS_STATE = 12; // u32, hash state of the root label
export const SCOPE_IPV4 = 16; // cidr
export const SCOPE_IPV6 = 20; // cidr

// Set: what the rules of one pattern say, as one u32.
//
//   0                        none
//   1 zzzzz--- r{20}         one entry for any port: flags z, rule index r
//   0 offset                 a record in `words`: count, any count, then (key, rule index) pairs
//
// A key is the port in the upper half and the flags in the lower. Keys ascend and are unique, each
// with its lowest rule index; those for any port have port 0 and so come first. With ENTRY_HTTP it is
// no rule index but the offset of a list in `words`: count, then (rule index, methods, path pattern).
export const SET_INLINE = 0x80000000;
export const SET_INLINE_FLAGS_SHIFT = 20;
export const SET_COUNT = 0;
export const SET_ANY_COUNT = 4;
export const SET_ENTRIES = 8;
export const ENTRY_BYTES = 8;
export const ENTRY_KEY = 0;
export const ENTRY_RULE = 4;
export const ENTRY_TCP = 1; // Equal to ASK_TCP and ASK_UDP: `flags & asked` tests the protocol.
export const ENTRY_UDP = 2;
export const ENTRY_DENY = 4;
export const ENTRY_NAMED = 8; // The pattern names the host itself.
export const ENTRY_HTTP = 16; // Rules for requests; never inline.
export const ENTRY_FLAGS_MASK = 31;

export const HTTP_COUNT = 0;
export const HTTP_RULES = 4;
export const HTTP_BYTES = 12;
export const HTTP_RULE = 0; // u32, rule index
export const HTTP_METHODS = 4; // u32, bits
export const HTTP_PATTERN = 8; // u32 offset in `words`

// Path pattern: bytes that end with PATH_END; those below 4 are no bytes of a path.
export const PATH_END = 0;
export const PATH_DEEP = 1; // Any number of segments; stands between segments.
export const PATH_STAR = 2; // Any bytes but a slash.
export const PATH_ONE = 3; // One byte but a slash.

// Slot of the one hash table for all host nodes: open addressing, linear probing, at most half
// full. The hash covers the labels from the root to the node; its low bits choose the slot, its
// highest the tag. It only proposes: a node is taken when its parent and its label's bytes are equal.
//
//   node's offset from `nodes`, in units of NODE_ALIGN | tag{7}          0 for an empty slot
export const SLOT_BYTES = 4;
export const SLOT_TAG_BITS = 7;
export const SLOT_TAG_MASK = 127;
export const SLOT_TAG_SHIFT = 25; // From the hash.
export const HASH_PRIME = 0x01000193; // FNV-1a, 32 bits.
export const HASH_DOT = 46;

// Host node: one label. Children are found through the slots. Aligned to 32 bytes, so that a label
// of up to 19 bytes shares one cache line with the rest; offset 0 of the region is no node.
//
//   0        4       8       12       13
//   ├────────┼───────┼───────┼────────┼──────────┤
//   │ parent │ exact │ extra │ length │ label... │
export const NODE_ALIGN = 32;
export const NODE_ALIGN_BITS = 5;
export const NODE_PARENT = 0; // u32 offset from `nodes`; 0 at a root
export const NODE_EXACT = 4; // set: the name that ends here
export const NODE_EXTRA = 8; // u32 offset of an extra record in `words`, or 0
export const NODE_LENGTH = 12; // u8
export const NODE_LABEL = 13;

// Extra: what few nodes have.
export const EXTRA_BYTES = 12;
export const EXTRA_ONE = 0; // set: names with one more label
export const EXTRA_MANY = 4; // set: names with one or more
export const EXTRA_GLOBS = 8; // u32 offset of a glob list in `words`, or 0

// Glob list: count, then edges. A pattern is bytes that end with GLOB_END; GLOB_CLASS is followed
// by the 16 bytes of a bit map over ASCII.
export const GLOBS_COUNT = 0;
export const GLOBS_EDGES = 4;
export const GLOB_BYTES = 12;
export const GLOB_PATTERN = 0; // u32 offset in `words`
export const GLOB_NODE = 4; // u32 offset from `nodes`
export const GLOB_STATE = 8; // u32, hash state of that node
export const GLOB_END = 0;
export const GLOB_STAR = 42;
export const GLOB_ONE = 63;
export const GLOB_CLASS = 91;
export const GLOB_CLASS_BYTES = 16;

// CIDR node of a path-compressed binary trie; offset 0 of the region is no node.
//
//   0        4                    20     24      28      32
//   ├────────┼────────────────────┼──────┼───────┼───────┤
//   │ length │ prefix, 4 x u32    │ zero │ one   │ set   │
export const CIDR_BYTES = 32;
export const CIDR_LENGTH = 0; // u32, bits
export const CIDR_PREFIX = 4; // 4 x u32, each in numeric order
export const CIDR_ZERO = 20; // u32 offset from `cidrs`: next bit 0
export const CIDR_ONE = 24; // u32 offset from `cidrs`: next bit 1
export const CIDR_SET = 28; // set

// Rule: source, length of the id, id. All records of an image have the size that its longest id
// needs, so that a verdict finds one with a single access to memory.
export const RULE_SOURCE = 0; // u8
export const RULE_ID_LENGTH = 1; // u8
export const RULE_ID = 2;
export const RULE_ID_MAX = 64;
export const SOURCE_LOCAL = 0;
export const SOURCE_KIT = 1;
export const SOURCE_REMOTE = 2;
