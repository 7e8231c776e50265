/** Exports something else. */
export default { listen: "inet:9000" }
