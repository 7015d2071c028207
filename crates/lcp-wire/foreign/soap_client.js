// Speak the protocol of 2003 with the npm package soap, as the description of an issuer says.
//
// Usage: soap_client.js WSDL_URL HOLDER.crt HOLDER.key ISSUER.crt RECIPIENT_HEX
//
// Asks what arrived, pays, and asks again, each message twice, as one does whose answer was lost; tries what must be
// refused; prints one JSON object. The issuer must show ISSUER.crt.

'use strict';

const fs = require('fs');
const soap = require('soap');

async function main(wsdl, certificate, key, issuer, recipient) {
  const client = await soap.createClientAsync(wsdl);
  client.setSecurity(
    new soap.ClientSSLSecurity(fs.readFileSync(key), fs.readFileSync(certificate), fs.readFileSync(issuer), {}),
  );

  // A simple value comes as itself, or as what it is with its attributes.
  const value = (it) => (it !== null && typeof it === 'object' && '$value' in it ? it.$value : it);

  async function pay(messageCounter, amount) {
    try {
      const [paid] = await client.transferAsync({ recipient, amount, transactionId: 'bob1234567890', messageCounter });
      return { result: value(paid.result), fee: Number(value(paid.fee)) };
    } catch (error) {
      return { fault: error.root.Envelope.Body.Fault.detail.fault.code };
    }
  }

  async function ask(in1) {
    const [told] = await client.queryAsync({ in0: 0, in1 });
    const { balance, fee, deposits } = told.queryReturn;
    const items = [deposits?.item ?? deposits?.Transaction ?? []].flat();
    return {
      balance: Number(value(balance)),
      fee: Number(value(fee)),
      deposits: items.map((it) => ({ amount: Number(value(it.amount)), id: String(value(it.id)) })),
    };
  }

  return {
    client: wsdl.includes('literal') ? 'soap literal' : 'soap encoded',
    before: await ask(0),
    before_again: await ask(0),
    paid: await pay(1, 100),
    again: await pay(1, 100),
    other: await pay(1, 200),
    after: await ask(0),
    broke: await pay(1, 10000000),
  };
}

main(...process.argv.slice(2)).then(
  (said) => console.log(JSON.stringify(said)),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
