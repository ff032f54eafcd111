// What load, origin and Sallyport of the TLS bench know of its credential.

/** Bound to the origin; the load does not know it. */
export const SECRET = 'the-secret-of-the-bench';
/** Stands in the load's requests in its place. */
export const PLACEHOLDER = 'the-placeholder-of-the-bench';

/** The origin's whole answer, of one length either way. */
export const SECRET_SEEN = 'credential: y';
export const NO_SECRET_SEEN = 'credential: n';

/** A message of 13 bytes, not compressed (gRPC over HTTP/2, Length-Prefixed-Message). */
export const GRPC_PREFIX = Buffer.from([0, 0, 0, 0, 13]);
