// Collects what the sets on a walk say. Deny wins over allow, and of several rules that decide
// alike the first in the list is named; both hold whatever the order of the walk.
import { at } from './image';
import {
  ANSWER_ALLOW,
  ANSWER_EXPLICIT,
  ANSWER_RULE_MASK,
  ASK_NAMED_ONLY,
  ASK_TCP,
  ASK_UDP,
  ENTRY_BYTES,
  ENTRY_DENY,
  ENTRY_FLAGS_MASK,
  ENTRY_KEY,
  ENTRY_NAMED,
  ENTRY_RULE,
  SET_ANY_COUNT,
  SET_COUNT,
  SET_ENTRIES,
  SET_INLINE,
  SET_INLINE_FLAGS_SHIFT,
} from './layout';

const NONE: u32 = 0xffffffff;

let denied: u32 = NONE;
let allowed: u32 = NONE;
let asked: u32 = 0;
let port: u32 = 0;

/** Starts a new question: `ask` is its protocol and ASK_NAMED_ONLY. */
export function begin(ask: u32, askedPort: u32): void {
  denied = NONE;
  allowed = NONE;
  asked = ask;
  port = askedPort;
}

/** The verdict so far, as match() returns it; 0 when no rule matched. */
export function answer(): u32 {
  if (denied !== NONE) return ANSWER_EXPLICIT | denied;
  if (allowed !== NONE) return ANSWER_EXPLICIT | ANSWER_ALLOW | allowed;
  return 0;
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
  add(load<u32>(entry, ENTRY_KEY) & ENTRY_FLAGS_MASK, load<u32>(entry, ENTRY_RULE));
}

function add(flags: u32, rule: u32): void {
  if ((flags & asked & (ASK_TCP | ASK_UDP)) === 0) return;
  if (flags & ENTRY_DENY) {
    if (rule < denied) denied = rule;
  } else if ((asked & ASK_NAMED_ONLY) === 0 || (flags & ENTRY_NAMED) !== 0) {
    if (rule < allowed) allowed = rule;
  }
}
