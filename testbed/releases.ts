/** Which release of an MTA the tests run with: this machine's, or one that scripts/fetchMta.sh has unpacked. */
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

/** Names the release, such as `postfix-3.10`; empty or not set for what is installed. */
const variable = "EFFECT_MILTER_MTA"

/** A release that is unpacked somewhere and runs from there. */
export interface Release {
  readonly name: string
  readonly root: string
}

/** The release to test with if it is one of this MTA, else undefined. */
export const releaseOf = (mta: "postfix" | "sendmail"): Release | undefined => {
  const name = process.env[variable] ?? ""
  if (!name.startsWith(`${mta}-`)) return undefined
  const cache = process.env["XDG_CACHE_HOME"] || Path.join(Os.homedir(), ".cache")
  const mtas = process.env["EFFECT_MILTER_MTAS"] || Path.join(cache, "effect-milter", "mtas")
  return { name, root: Path.join(mtas, name) }
}

/** The Sendmail that scripts/buildSendmail.sh has built for larger packets, if that is the release to test with. */
export const larger = (): Release | undefined => {
  const release = releaseOf("sendmail")
  return release?.name === "sendmail-8.18-mds" ? release : undefined
}

/** Why the release cannot be used, or undefined. */
export const missingRelease = ({ name, root }: Release): string | undefined =>
  Fs.existsSync(root) ? undefined : `${name} is not unpacked: scripts/fetchMta.sh ${name}`
