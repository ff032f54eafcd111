/** A host in the one form the matcher compares: lower-case A-labels, no trailing dot. */
export type Host = string & { readonly __host: unique symbol };
