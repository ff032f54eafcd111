/** One element of a rule's resource list, parsed. `text` is its canonical spelling. */
export type Resource =
  /** `example.com`, `*.example.com`, `**.example.com`, `crl*.example.com`, `localhost:80` */
  | {
      readonly kind: 'host';
      readonly text: string;
      /** none: the labels alone. one: `*.` before them. many: `**.` before them. */
      readonly prefix: 'none' | 'one' | 'many';
      /** Left to right, lower case; a label with `*`, `?` or `[` is a glob within that label. */
      readonly labels: readonly string[];
      /** 0 for any port. */
      readonly port: number;
    }
  /** `**`, `**:443`: every host and every address. */
  | { readonly kind: 'any'; readonly text: string; readonly port: number }
  /** `10.1.2.3`, `10.0.0.0/8`, `[2001:db8::1]:443`: an address is a range of full length. */
  | {
      readonly kind: 'cidr';
      readonly text: string;
      /** 4 or 16 bytes, network order, host bits zero. */
      readonly bytes: Uint8Array;
      readonly prefixLength: number;
      readonly port: number;
    };
