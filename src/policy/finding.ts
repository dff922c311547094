/** Something wrong, at a path into the policy. */
export interface Finding {
  readonly path: readonly PropertyKey[];
  readonly expected: string;
  readonly got: string;
  readonly hint: string | null;
}
