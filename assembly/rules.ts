// Collects what the sets on a walk say. Deny wins over allow, and of several rules that decide
// alike the first in the list is named; both hold whatever the order of the walk.
import { at } from './image';
import {
  ANSWER_ALLOW,
  ANSWER_EXPLICIT,
  ANSWER_HTTP,
  ANSWER_RULE_MASK,
  ASK_HTTP,
  ASK_NAMED_ONLY,
  ASK_TCP,
  ASK_UDP,
  ENTRY_BYTES,
  ENTRY_DENY,
  ENTRY_FLAGS_MASK,
  ENTRY_HTTP,
  ENTRY_KEY,
  ENTRY_NAMED,
  ENTRY_RULE,
  HTTP_BYTES,
  HTTP_COUNT,
  HTTP_METHODS,
  HTTP_PATTERN,
  HTTP_RULE,
  HTTP_RULES,
  LANE_METHOD,
  LANE_PATH,
  LANE_PATH_BYTES,
  LANE_PATH_LENGTH,
  SET_ANY_COUNT,
  SET_COUNT,
  SET_ENTRIES,
  SET_INLINE,
  SET_INLINE_FLAGS_SHIFT,
} from './layout';
import { matchPath } from './path';

const NONE: u32 = 0xffffffff;

let denied: u32 = NONE;
let allowed: u32 = NONE;
let asked: u32 = 0;
let port: u32 = 0;
let covered: u32 = 0;
let lane: usize = 0;

/** Starts a new question: `ask` is its protocol, ASK_NAMED_ONLY and ASK_HTTP. */
export function begin(ask: u32, askedPort: u32, askingLane: usize): void {
  lane = askingLane;
  covered = 0;
  denied = NONE;
  allowed = NONE;
  asked = ask;
  port = askedPort;
}

/** The verdict so far, as match() returns it; without ANSWER_EXPLICIT when no rule matched. */
export function answer(): u32 {
  if (denied !== NONE) return ANSWER_EXPLICIT | covered | denied;
  if (allowed !== NONE) return ANSWER_EXPLICIT | ANSWER_ALLOW | covered | allowed;
  return covered;
}

/** Adds the entries of a set that match the question's port and protocol. */
export function collect(set: u32): void {
  if (set === 0) return;
  if (set & SET_INLINE) {
    add((set >>> SET_INLINE_FLAGS_SHIFT) & ENTRY_FLAGS_MASK, set & ANSWER_RULE_MASK);
    return;
  }
  const head = at(set, SET_ENTRIES);
  const count = load<u32>(head, SET_COUNT);
  const anyCount = load<u32>(head, SET_ANY_COUNT);
  if (count > <u32>ANSWER_RULE_MASK || anyCount > count) unreachable();
  const entries = at(set, SET_ENTRIES + count * ENTRY_BYTES) + SET_ENTRIES;
  for (let i: u32 = 0; i < anyCount; i++) addEntry(entries + i * ENTRY_BYTES);
  for (let i = firstOfPort(entries, anyCount, count); i < count; i++) {
    const entry = entries + i * ENTRY_BYTES;
    if (load<u32>(entry, ENTRY_KEY) >>> 16 !== port) return;
    addEntry(entry);
  }
}

/** Binary search for the first entry whose port is not below the question's. */
function firstOfPort(entries: usize, from: u32, to: u32): u32 {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (load<u32>(entries + middle * ENTRY_BYTES, ENTRY_KEY) >>> 16 < port) low = middle + 1;
    else high = middle;
  }
  return low;
}

function addEntry(entry: usize): void {
  const flags = load<u32>(entry, ENTRY_KEY) & ENTRY_FLAGS_MASK;
  const rule = load<u32>(entry, ENTRY_RULE);
  if ((flags & ENTRY_HTTP) === 0) add(flags, rule);
  else if (applies(flags)) addRequests(flags, rule);
}

function add(flags: u32, rule: u32): void {
  if (!applies(flags)) return;
  if (flags & ENTRY_DENY) {
    if (rule < denied) denied = rule;
  } else if (rule < allowed) {
    allowed = rule;
  }
}

function applies(flags: u32): bool {
  if ((flags & asked & (ASK_TCP | ASK_UDP)) === 0) return false;
  return (flags & (ENTRY_DENY | ENTRY_NAMED)) !== 0 || (asked & ASK_NAMED_ONLY) === 0;
}

/** Adds those of the HTTP rules at `list` that cover the lane's request. */
function addRequests(flags: u32, list: u32): void {
  covered = ANSWER_HTTP;
  if ((asked & ASK_HTTP) === 0) return;
  const method = load<u32>(lane, LANE_METHOD);
  const length = load<u32>(lane, LANE_PATH_LENGTH);
  if (length > <u32>LANE_PATH_BYTES) unreachable();
  const count = load<u32>(at(list, HTTP_RULES), HTTP_COUNT);
  if (count > 0xfffffff) unreachable();
  const rules = at(list, HTTP_RULES + count * HTTP_BYTES) + HTTP_RULES;
  for (let i: u32 = 0; i < count; i++) {
    const rule = rules + i * HTTP_BYTES;
    if ((load<u32>(rule, HTTP_METHODS) & method) === 0) continue;
    const pattern = at(load<u32>(rule, HTTP_PATTERN), 1);
    if (matchPath(pattern, lane + LANE_PATH, length)) add(flags, load<u32>(rule, HTTP_RULE));
  }
}
