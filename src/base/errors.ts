/**
 * Every error this product raises on purpose.
 *
 * An error has a code (stable, documented in docs/errors.md, safe to match on), a message (what
 * happened, to which thing) and a hint (what the reader can do next). The HTTP status is part of
 * the table so that a code means the same thing on the data plane, the control API and the CLI.
 */
export const CODES = {
  // Policy decisions.
  SALLYPORT_DENIED: {
    status: 403,
    hint: 'See which rule decides with `sallyport policy check network HOST:PORT`, then allow the host or remove the deny rule.',
  },
  SALLYPORT_APPROVAL_REQUIRED: {
    status: 403,
    hint: 'No rule covers the host, and a person may allow it: `sbx policy approval ls`, then `sbx policy approval respond ID --option allow`.',
  },
  SALLYPORT_ADDRESS_FORBIDDEN: {
    status: 403,
    hint: 'The host leads to a special-use address (RFC 6890). Allow that address, a CIDR range around it, or localhost:PORT by a rule of its own.',
  },
  SALLYPORT_MOUNT_DENIED: {
    status: 403,
    hint: 'See which rule decides with `sallyport policy check filesystem --write PATH --verbose`.',
  },
  SALLYPORT_BROWSER_UNAVAILABLE: {
    status: 503,
    hint: 'Say what opens a page on this machine: `sallyport settings set browser.command xdg-open`.',
  },
  SALLYPORT_PATH_INVALID: {
    status: 400,
    hint: 'Name an absolute path of this machine, without control characters and shorter than 4096 bytes.',
  },
  SALLYPORT_PATH_UNREADABLE: {
    status: 403,
    hint: 'Where the path leads cannot be found out, so it is refused. The daemon must be able to look up every folder and link on it.',
  },
  // Who is asking.
  SALLYPORT_SANDBOX_UNKNOWN: {
    status: 407,
    hint: 'Use the proxy URL that `sallyport sandbox add NAME` printed; it carries the name and the token.',
  },
  // What was asked, RFC 9110 and RFC 9112.
  SALLYPORT_REQUEST_MALFORMED: {
    status: 400,
    hint: 'The request is not valid HTTP/1.1 framing (RFC 9112); the connection was closed.',
  },
  SALLYPORT_TARGET_INVALID: {
    status: 400,
    hint: 'Send the absolute form (GET http://host/path) or CONNECT host:port (RFC 9112 section 3.2).',
  },
  SALLYPORT_NOT_AN_ORIGIN: {
    status: 400,
    hint: 'This is a proxy: point http_proxy and https_proxy at it instead of opening it as a site.',
  },
  SALLYPORT_REQUEST_TIMEOUT: {
    status: 408,
    hint: 'The request did not arrive in time; send it again on a new connection.',
  },
  SALLYPORT_URI_TOO_LONG: { status: 414, hint: 'Shorten the request target.' },
  SALLYPORT_EXPECTATION_FAILED: {
    status: 417,
    hint: 'Only Expect: 100-continue is understood (RFC 9110 section 10.1.1).',
  },
  SALLYPORT_HEAD_TOO_LARGE: { status: 431, hint: 'Send fewer or shorter header fields.' },
  SALLYPORT_CODING_UNKNOWN: {
    status: 501,
    hint: 'Only the chunked transfer coding is understood (RFC 9112 section 7).',
  },
  SALLYPORT_VERSION_UNSUPPORTED: { status: 505, hint: 'Speak HTTP/1.1 or HTTP/1.0 to the proxy.' },
  SALLYPORT_MISDIRECTED: {
    status: 421,
    hint: 'The request names another host than its connection does; open a connection to that host (RFC 9110 section 15.5.20).',
  },
  // TLS with the client, where the proxy terminates it.
  SALLYPORT_TLS_HELLO_INVALID: {
    status: 400,
    hint: 'The tunnel did not begin with a TLS ClientHello that can be read; this host is intercepted, so only TLS can pass.',
  },
  SALLYPORT_TLS_NAME_MISMATCH: {
    status: 421,
    hint: 'The TLS server name must be the host that CONNECT named, and may be absent only for an address.',
  },
  SALLYPORT_TLS_HANDSHAKE_FAILED: {
    status: 400,
    hint: 'The client must trust the authority of the proxy: see `sallyport env` and `sallyport ca export`.',
  },
  // Credentials.
  SALLYPORT_CREDENTIAL_MISUSED: {
    status: 403,
    hint: 'The request carries a placeholder to a destination that its secret is not bound to. See `sallyport secret ls`.',
  },
  SALLYPORT_CREDENTIAL_PLAINTEXT: {
    status: 403,
    hint: 'A secret is not sent over plain HTTP. Use https, or bind the secret with the explicit switch for plain HTTP.',
  },
  SALLYPORT_CREDENTIAL_TOO_LARGE: {
    status: 413,
    hint: 'So many placeholders stand in the request that their secrets would take more than 1 MiB. Send fewer of them at once.',
  },
  SALLYPORT_CREDENTIAL_ECHOED: {
    status: 403,
    hint: 'TRACE has the destination send back what it was sent, and a secret is bound to it. Use another method.',
  },
  SALLYPORT_TOKEN_EXCHANGE_REFUSED: {
    status: 502,
    hint: 'Tokens of this endpoint stay with the proxy, which could not make out all of them: it reads JSON of up to 64 KiB. Nothing of the answer was passed on.',
  },
  SALLYPORT_CREDENTIAL_UNAVAILABLE: {
    status: 502,
    hint: 'The source of the secret failed or took too long; see the daemon log, then `sallyport secret ls`.',
  },
  SALLYPORT_RESPONSE_UNINSPECTABLE: {
    status: 502,
    hint: 'Its secret is marked `--scrub strict`, and this answer cannot be searched for it. `--scrub pass` lets such answers through.',
  },
  SALLYPORT_REGISTRY_REALM_REFUSED: {
    status: 502,
    hint: 'The registry sends its login to a URL that may not have it. If that is right, name the exact URL: `sallyport secret set --registry HOST --registry-auth-endpoint URL`.',
  },
  SALLYPORT_REGISTRY_LOGIN_FAILED: {
    status: 502,
    hint: 'The proxy could not log in to the registry. Check the secret with `sallyport secret ls`, and that the policy allows the host of the token endpoint.',
  },
  // The other side.
  SALLYPORT_DNS_FAILED: {
    status: 502,
    hint: 'The host is allowed, but its name does not resolve here.',
  },
  SALLYPORT_DNS_TIMEOUT: {
    status: 504,
    hint: 'The name server did not answer in time; try again.',
  },
  SALLYPORT_UPSTREAM_UNREACHABLE: {
    status: 502,
    hint: 'The host is allowed, but the destination refused or reset the connection. One that wants a client certificate is given it by `daemon start --client-cert`.',
  },
  SALLYPORT_UPSTREAM_TIMEOUT: {
    status: 504,
    hint: 'The host is allowed, but the destination did not answer in time.',
  },
  SALLYPORT_UPSTREAM_MALFORMED: {
    status: 502,
    hint: 'The host is allowed, but its answer is not valid HTTP.',
  },
  SALLYPORT_UPSTREAM_CERTIFICATE: {
    status: 502,
    hint: 'The certificate of the destination does not verify. An inner authority is added by `daemon start --upstream-ca FILE`.',
  },
  // This side.
  SALLYPORT_OVERLOADED: {
    status: 503,
    hint: 'A bound of the proxy is reached; try again shortly.',
  },
  SALLYPORT_AUDIT_UNAVAILABLE: {
    status: 503,
    hint: 'The audit cannot be written, and no exchange may pass without its record. See `sallyport daemon status`; make room, or start with `--audit best-effort`.',
  },
  SALLYPORT_DRAINING: { status: 503, hint: 'The proxy is shutting down; try again shortly.' },
  SALLYPORT_INTERNAL: { status: 500, hint: 'A defect in the proxy; see the daemon log.' },
  // Control plane and CLI.
  SALLYPORT_POLICY_INVALID: {
    status: 400,
    hint: 'Nothing was changed. Correct the named element and run the command again.',
  },
  SALLYPORT_POLICY_TOO_LARGE: {
    status: 413,
    hint: 'Nothing was changed; the previous policy stays in force. Use wildcards or CIDR ranges in place of single hosts.',
  },
  SALLYPORT_POLICY_UNINITIALIZED: {
    status: 409,
    hint: 'Choose one with `sbx policy set-default allow-all|balanced|deny-all`.',
  },
  SALLYPORT_PUBLISH_TIMEOUT: {
    status: 503,
    hint: 'A worker did not leave the old policy in time; the change was not acknowledged. Try again.',
  },
  SALLYPORT_REQUEST_INVALID: {
    status: 400,
    hint: 'The control API is described at /openapi.json.',
  },
  SALLYPORT_UNAUTHORIZED: { status: 401, hint: 'Send the API token as Authorization: Bearer.' },
  SALLYPORT_FORBIDDEN_HOST: {
    status: 403,
    hint: 'Address the control API by the host it listens on; other names are refused (DNS rebinding).',
  },
  SALLYPORT_NOT_FOUND: { status: 404, hint: 'List what exists with `ls`.' },
  SALLYPORT_CONFLICT: {
    status: 409,
    hint: 'Remove the existing one first, or choose another name.',
  },
  SALLYPORT_AUTHORITY_INVALID: {
    status: 400,
    hint: 'Nothing was changed. Give a CA certificate with its key, as PEM or PKCS#12.',
  },
  SALLYPORT_SECRET_INVALID: {
    status: 400,
    hint: 'Nothing was stored. Correct what is named and run the command again.',
  },
  SALLYPORT_VAULT_UNREADABLE: {
    status: 500,
    hint: 'What is sealed needs its key: see `sallyport daemon status`, and give back the key file or open the keychain.',
  },
  SALLYPORT_GOVERNANCE_FAILED: {
    status: 502,
    hint: 'What the organization said last stays in force until its grace ends; `sallyport policy ls` shows how long ago that was.',
  },
  SALLYPORT_SETTING_INVALID: {
    status: 400,
    hint: 'Correct what is named. `sallyport settings list` tells the keys, their values and where these come from; `sallyport settings unset KEY` takes a key out of the file.',
  },
  SALLYPORT_STORE_UNWRITABLE: {
    status: 503,
    hint: 'Make room on the disk of the state directory, or mend it, and try again before any restart.',
  },
  SALLYPORT_STORE_CORRUPT: {
    status: 500,
    hint: 'Restore the state directory from a backup, or start over with `sallyport policy reset --force`.',
  },
  SALLYPORT_DAEMON_UNREACHABLE: {
    status: 503,
    hint: 'Start it with `sallyport daemon start -d`.',
  },
  SALLYPORT_CANCELLED: { status: 499, hint: 'Run the command again when you are ready.' },
  SALLYPORT_USAGE: { status: 400, hint: 'See `--help`.' },
} as const satisfies Record<string, { status: number; hint: string }>;

export type Code = keyof typeof CODES;

export class SallyportError extends Error {
  override readonly name = 'SallyportError';
  readonly code: Code;
  /** What the reader can do next: what fits this one, or what the table has for its code. */
  readonly hint: string;

  constructor(code: Code, message: string, options: { cause?: unknown; hint?: string } = {}) {
    const { hint = CODES[code].hint, ...rest } = options;
    super(message, rest);
    this.code = code;
    this.hint = hint;
  }

  get status(): number {
    return CODES[this.code].status;
  }

  /** The body of every error response; never carries `cause`, which may name internal hosts. */
  toJSON(): { code: Code; message: string; hint: string } {
    return { code: this.code, message: this.message, hint: this.hint };
  }
}
