/** An IP address in canonical text: dotted decimal, or RFC 5952 without brackets. */
export type Address = string & { readonly __address: unique symbol };
