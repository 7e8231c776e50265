/**
 * Runs the tests about what an MTA says and delivers with each release that scripts/fetchMta.sh can get, or with those
 * named: `npm run test:mtas -- postfix-3.10`. A release that is not available (Debian's unstable suite has moved on) is
 * skipped, and said so. So is the Sendmail with larger packets where scripts/buildSendmail.sh cannot build it.
 */
import * as ChildProcess from "node:child_process"
import * as path from "node:path"
import { root } from "./repository.ts"

/** Built, not fetched. */
const largerPackets = "sendmail-8.18-mds"

const releases = ["postfix-3.10", "postfix-3.11", "sendmail-8.18", largerPackets]

/** What fetchMta.sh exits with for a release that it does not know, or when the suite has another by now. */
const notAvailable = 3

const both = ["auth", "combining", "message", "modifications", "sequence"]

/** The test files of test/integration that a release has to pass. */
const filesOf = (release: string): ReadonlyArray<string> =>
  release === largerPackets
    ? ["largePackets", "sendmail"]
    : release.startsWith("postfix-")
    ? [...both, "filters", "postfix", "reliability", "verdicts"]
    : [...both, "sendmail", "sendmailFilters", "sendmailVerdicts"]

const run = (command: string, args: ReadonlyArray<string>, release: string): number =>
  ChildProcess.spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, EFFECT_MILTER_MTA: release },
    stdio: "inherit"
  }).status ?? 1

/** Whether the release is there now; undefined for a failure. */
const get = (release: string): boolean | undefined => {
  if (release === largerPackets) return run("scripts/buildSendmail.sh", [], release) === 0
  const fetched = run("scripts/fetchMta.sh", [release], release)
  return fetched === notAvailable ? false : fetched === 0 || undefined
}

const named = process.argv.slice(2)

let failed = false
for (const release of named.length === 0 ? releases : named) {
  const isThere = get(release)
  if (isThere === false) {
    process.stdout.write(
      `skipped: ${release} ${release === largerPackets ? "cannot be built" : "is not available"}\n`
    )
    continue
  }
  const files = filesOf(release).map((name) => path.join("test/integration", `${name}.test.ts`))
  // For docs/reference/conformance.md.
  const report = ["--reporter=default", "--reporter=json", `--outputFile.json=test-results/mtas/${release}.json`]
  const args = ["vitest", "run", "--project", "integration", ...report, ...files]
  if (isThere === undefined || run("npx", args, release) !== 0) failed = true
}
if (failed) process.exitCode = 1
