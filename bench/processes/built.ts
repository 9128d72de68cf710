/**
 * Loads a module of the build, for processes that are measured as users run them.
 *
 * @module
 */

/** `path`: below `dist`, without its ending. `npm run bench` builds first. */
export const built = (path: string): Promise<unknown> => import(new URL(`../../dist/${path}.js`, import.meta.url).href)
