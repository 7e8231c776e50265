/** The oldest Node that runs the package, the `engines` of its package.json. Pure, and runs on old versions of Node. */

const [oldestMajor, oldestMinor] = [22, 19]

/** The version in words. */
export const oldestText = `${oldestMajor}.${oldestMinor}`

/** What to do if this version of Node is too old; undefined if it is not. */
export const tooOld = (version: string): string | undefined => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return undefined
  return `Node ${version} is too old, effect-milter needs ${oldestText} or later: npm install node@24 adds one to this ` +
    "project, which npx effect-milter then uses; nodejs.org has packages for the whole system"
}
