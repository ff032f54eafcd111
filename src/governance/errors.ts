// How the public Governance API says that something failed: `{"error": {"code", "message"}}`.
import { SallyportError } from '../base/errors.ts';

const STATUS = {
  invalid_argument: 400,
  unauthenticated: 401,
  permission_denied: 403,
  limit_exceeded: 403,
  not_found: 404,
  conflict: 409,
  internal: 500,
  unimplemented: 501,
} as const;

type ApiCode = keyof typeof STATUS;

export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ApiCode;

  constructor(code: ApiCode, message: string) {
    super(message);
    this.code = code;
  }

  get status(): number {
    return STATUS[this.code];
  }

  toJSON(): { error: { code: ApiCode; message: string } } {
    return { error: { code: this.code, message: this.message } };
  }
}

/** What a rule is refused for, is the caller's mistake; null for what is not known. */
export function apiErrorOf(error: unknown): ApiError | null {
  if (error instanceof ApiError) return error;
  const isTheirs = error instanceof SallyportError && error.code === 'SALLYPORT_POLICY_INVALID';
  return isTheirs ? new ApiError('invalid_argument', error.message) : null;
}
