// The client node-vault, through the gate. Takes a folder beside `node_modules`; its plan and what it prints are as
// `hvac_client.py` has them.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder] = process.argv.slice(2);
const vault = createRequire(`${folder}/`)("node-vault");

const file = (path) => path && readFileSync(path);

function caller(plan) {
  const client = vault({
    endpoint: plan.address,
    token: plan.token,
    // It lists without the method `LIST` where it is told to.
    noCustomHTTPVerbs: plan.login === undefined,
    requestOptions: { ca: file(plan.ca), cert: file(plan.certificate), key: file(plan.key) },
  });
  let ciphertext;
  const data = (path) => `secret/data/${path}`;
  const logins = { cert: client.certLogin, jwt: client.jwtLogin, approle: client.approleLogin };
  return {
    login: ({ method, data }) => logins[method](data).then(() => undefined),
    write: async (path, value) => (await client.write(data(path), { data: value })).data.version,
    patch: async (path, value) => (await client.update(data(path), { data: value })).data.version,
    read: async (path) => {
      const { metadata, data: value } = (await client.read(data(path))).data;
      return [metadata.version, value];
    },
    version: async (path, version) => (await client.read(`${data(path)}?version=${version}`)).data.data,
    list: async (path) => (await client.list(`secret/metadata/${path}`)).data.keys,
    delete: (path) => client.delete(data(path)).then(() => null),
    encrypt: async (key, plaintext) => {
      ({ ciphertext } = (await client.encryptData({ name: key, plaintext })).data);
      return ciphertext.slice(0, 9);
    },
    decrypt: async (key) => (await client.decryptData({ name: key, ciphertext })).data.plaintext,
    lookup: async () => (await client.tokenLookupSelf()).data.display_name,
    create: async (ttl) => (await client.tokenCreate({ ttl })).auth.lease_duration,
    revoke: () => client.tokenRevokeSelf().then(() => null),
  };
}

const refused = (error) => {
  if (error.response === undefined) throw error;
  return { status: error.response.statusCode };
};

async function follow(plan) {
  const called = caller(plan);
  const failed = plan.login && (await called.login(plan.login).catch(refused));
  if (failed) return [failed];
  const saw = [];
  for (const [name, ...rest] of plan.calls) saw.push(await called[name](...rest).catch(refused));
  return saw;
}

console.log(JSON.stringify(await follow(JSON.parse(readFileSync(0)))));
