/** Tests that need something which is not installed everywhere. */
import { describe, it } from "@effect/vitest"

const inContinuousIntegration = (): boolean => !["", "0", "false"].includes(process.env["CI"] ?? "")

/**
 * `describe` for suites with a prerequisite; `missing` says why they cannot run here, or is undefined. Then the suite is
 * skipped, with the reason in its name; in continuous integration (`CI=true`) it fails instead, so that a broken set-up
 * cannot pass for a green run.
 */
export const describeWith = (missing: string | undefined, name: string, suite: () => void): void => {
  if (missing === undefined) {
    describe(name, suite)
  } else if (inContinuousIntegration()) {
    describe(name, () => {
      it("has what it needs", () => {
        throw new Error(missing)
      })
    })
  } else {
    process.stderr.write(`skipped: ${name}: ${missing}\n`)
    describe.skip(`${name} (${missing})`, suite)
  }
}

/** Why tests cannot run that give files away or start processes of other users. */
export const notRoot: string | undefined = process.getuid?.() === 0 ? undefined : "only root can change owners"
