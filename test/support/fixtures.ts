/** Where the fixtures lie: beside the sources, for they are not compiled. */
export const FIXTURES = new URL('../../../test/fixtures/', import.meta.url);
