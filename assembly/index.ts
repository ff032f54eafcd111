// The matcher's one export. It reads the active image and writes the caller's own lane, nothing
// else: no allocation, no static data, no waiting. An inconsistent image traps.
import { walkCidrs } from './cidr';
import { openHosts, walkHosts } from './host';
import { at, image, open } from './image';
import {
  ANSWER_EXPLICIT,
  ANSWER_FRESH,
  ANSWER_RULE_MASK,
  ASK_IPV4,
  ASK_IPV6,
  CONTROL_DESCRIPTORS,
  CONTROL_SEQUENCE,
  DESCRIPTOR_BASE,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_GENERATION,
  DESCRIPTOR_LENGTH,
  HEADER_BYTES,
  HEADER_GENERATION,
  HEADER_LENGTH,
  HEADER_MAGIC,
  HEADER_RULE_BYTES,
  HEADER_RULE_COUNT,
  HEADER_RULES,
  HEADER_SCOPE_COUNT,
  HEADER_SCOPES,
  IMAGE_MAGIC,
  LANE_ADDRESS,
  LANE_EPOCH,
  LANE_GENERATION,
  LANE_HOST,
  LANE_RULE_ID,
  LANE_RULE_ID_LENGTH,
  LANE_SOURCE,
  LANE_TAGS,
  LANE_TAGS_COUNT,
  LANE_TAGS_GENERATION,
  RULE_ID,
  RULE_ID_LENGTH,
  RULE_ID_MAX,
  RULE_SOURCE,
  SCOPE_ANY,
  SCOPE_BYTES,
  SCOPE_HOSTS,
  SCOPE_HOSTS_STATE,
  SCOPE_IPV4,
  SCOPE_IPV6,
  SCOPE_NUMBER,
} from './layout';
import { answer, begin, collect } from './rules';

/**
 * Judges the question in a lane: scope, port and ASK_ flags as arguments, the name (`hostLength`
 * bytes) or the address in the lane, and with ASK_HTTP the method and path.
 *
 * @returns ANSWER_ bits and the rule index; 0 when no rule covers the host. The lane has the generation.
 */
export function match(lane: usize, scope: u32, port: u32, ask: u32, hostLength: u32): u32 {
  const epoch = atomic.load<u32>(lane, LANE_EPOCH) + 1;
  atomic.store<u32>(lane, epoch, LANE_EPOCH);
  const sequence = atomic.load<u32>(CONTROL_SEQUENCE);
  const descriptor: usize = CONTROL_DESCRIPTORS + (sequence & 1) * DESCRIPTOR_BYTES;
  const generation = load<u32>(descriptor, DESCRIPTOR_GENERATION);
  store<u32>(lane, generation, LANE_GENERATION);
  const base = load<u32>(descriptor, DESCRIPTOR_BASE);
  let result: u32 = 0;
  if (base !== 0) {
    openImage(base, load<u32>(descriptor, DESCRIPTOR_LENGTH), generation);
    begin(ask, port, lane);
    walkScope(0, lane, ask, hostLength);
    if (scope !== 0) walkScope(scope, lane, ask, hostLength);
    result = answer();
    if (result & ANSWER_EXPLICIT) result |= tell(lane, result & ANSWER_RULE_MASK, generation);
  }
  atomic.store<u32>(lane, epoch + 1, LANE_EPOCH);
  return result;
}

function openImage(base: u32, length: u32, generation: u32): void {
  open(base, length);
  const header = at(0, HEADER_BYTES);
  if (load<u32>(header, HEADER_MAGIC) !== IMAGE_MAGIC) unreachable();
  if (load<u32>(header, HEADER_LENGTH) !== length) unreachable();
  if (load<u32>(header, HEADER_GENERATION) !== generation) unreachable();
  openHosts();
}

function walkScope(number: u32, lane: usize, ask: u32, hostLength: u32): void {
  const scope = findScope(number);
  if (scope === 0) return;
  collect(load<u32>(scope, SCOPE_ANY));
  if (ask & ASK_IPV4) {
    walkCidrs(load<u32>(scope, SCOPE_IPV4), lane + LANE_ADDRESS, 32);
  } else if (ask & ASK_IPV6) {
    walkCidrs(load<u32>(scope, SCOPE_IPV6), lane + LANE_ADDRESS, 128);
  } else {
    const root = load<u32>(scope, SCOPE_HOSTS);
    if (root !== 0) {
      walkHosts(root, load<u32>(scope, SCOPE_HOSTS_STATE), lane + LANE_HOST, hostLength);
    }
  }
}

/** Binary search of the scope table; 0 when the scope has no rules. */
function findScope(number: u32): usize {
  const count = load<u32>(image, HEADER_SCOPE_COUNT);
  if (count > 0x3ffffff) unreachable();
  const scopes = at(load<u32>(image, HEADER_SCOPES), count * SCOPE_BYTES);
  let low: u32 = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const scope = scopes + middle * SCOPE_BYTES;
    const found = load<u32>(scope, SCOPE_NUMBER);
    if (found === number) return scope;
    if (found < number) low = middle + 1;
    else high = middle;
  }
  return 0;
}

/** Copies a rule's id and source to the lane, unless its thread has them; then ANSWER_FRESH is 0. */
function tell(lane: usize, rule: u32, generation: u32): u32 {
  if (load<u32>(lane, LANE_TAGS_GENERATION) !== generation) {
    memory.fill(lane + LANE_TAGS, 0, LANE_TAGS_COUNT * 4);
    store<u32>(lane, generation, LANE_TAGS_GENERATION);
  }
  const tag = lane + LANE_TAGS + (rule & (LANE_TAGS_COUNT - 1)) * 4;
  if (load<u32>(tag) === rule + 1) return 0;
  if (rule >= load<u32>(image, HEADER_RULE_COUNT)) unreachable();
  const bytes = load<u32>(image, HEADER_RULE_BYTES);
  if (bytes < <u32>RULE_ID || bytes > <u32>(RULE_ID + RULE_ID_MAX)) unreachable();
  const record = at(load<u32>(image, HEADER_RULES) + rule * bytes, bytes);
  const length: u32 = load<u8>(record, RULE_ID_LENGTH);
  if (length > bytes - RULE_ID) unreachable();
  memory.copy(lane + LANE_RULE_ID, record + RULE_ID, length);
  store<u32>(lane, length, LANE_RULE_ID_LENGTH);
  store<u32>(lane, load<u8>(record, RULE_SOURCE), LANE_SOURCE);
  store<u32>(tag, rule + 1);
  return ANSWER_FRESH;
}
