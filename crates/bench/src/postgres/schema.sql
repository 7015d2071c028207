-- An issuer as PostgreSQL would keep it, with what ours promises: durable before it is answered; each request of a holder once, with its
-- first answer; the fee to the issuer; no balance below zero; numbered notices of deposits; transfers that are only ever added.

-- sum(bigint) is numeric, and slower.
CREATE AGGREGATE total (bigint) (SFUNC = int8pl, STYPE = bigint, INITCOND = '0');

CREATE TABLE accounts (
    account   int    PRIMARY KEY,
    holder    bytea  NOT NULL UNIQUE,
    available bigint NOT NULL CHECK (available >= 0),
    notices   bigint NOT NULL -- how many deposits there were
) WITH (fillfactor = 40); -- room for updates that touch no index

-- The issuer's income, a row for each connection: with one row for all, each would wait until the one before it is durable.
CREATE TABLE fees (
    slot      int    PRIMARY KEY,
    collected bigint NOT NULL
) WITH (fillfactor = 10);

-- A transfer, the first answer to its request, and the notice to its payee, in one row.
CREATE TABLE transfers (
    payer   int    NOT NULL,
    payee   int    NOT NULL,
    at      bigint NOT NULL,
    amount  bigint NOT NULL,
    fee     bigint NOT NULL,
    balance bigint NOT NULL, -- the payer's, after it
    notice  bigint,          -- the payee's number for it; none when it was refused
    request uuid   NOT NULL,
    content uuid   NOT NULL, -- half of the request's digest
    "order" text   NOT NULL,
    PRIMARY KEY (payer, request)
);

CREATE UNIQUE INDEX deposits ON transfers (payee, notice);

-- One payment. The answer: the payer's balance, and whether it was refused.
CREATE FUNCTION pay(
    slot_ int, at_ bigint, payer_ bytea, request_ uuid, content_ uuid, payee_ bytea, amount_ bigint, fee_ bigint, order_ text,
    OUT balance_ bigint, OUT refused_ boolean
) LANGUAGE plpgsql AS $$
DECLARE
    debit  int;
    credit int;
    told   bigint;
    first  record;
BEGIN
    IF amount_ <= 0 OR fee_ < 0 THEN
        RAISE EXCEPTION 'no such amount';
    END IF;
    -- In one order for all, so that no two payments wait for each other.
    SELECT max(account) FILTER (WHERE holder = payer_), max(available) FILTER (WHERE holder = payer_),
           max(account) FILTER (WHERE holder = payee_), max(notices) FILTER (WHERE holder = payee_)
        INTO debit, balance_, credit, told
        FROM (SELECT * FROM accounts WHERE holder IN (payer_, payee_) ORDER BY holder FOR NO KEY UPDATE) AS locked;
    IF debit IS NULL OR credit IS NULL OR debit = credit THEN
        RAISE EXCEPTION 'no such accounts';
    END IF;
    SELECT content, balance, notice INTO first FROM transfers WHERE payer = debit AND request = request_;
    IF FOUND THEN
        IF first.content <> content_ THEN
            RAISE EXCEPTION 'the request had another content';
        END IF;
        balance_ := first.balance;
        refused_ := first.notice IS NULL;
        RETURN;
    END IF;
    refused_ := balance_ < amount_ + fee_;
    IF NOT refused_ THEN
        balance_ := balance_ - amount_ - fee_;
        told := told + 1;
        UPDATE accounts
            SET available = CASE account WHEN debit THEN balance_ ELSE available + amount_ END,
                notices = CASE account WHEN debit THEN notices ELSE told END
            WHERE account IN (debit, credit);
        UPDATE fees SET collected = collected + fee_ WHERE slot = slot_;
    ELSE
        told := NULL;
    END IF;
    INSERT INTO transfers VALUES (debit, credit, at_, amount_, fee_, balance_, told, request_, content_, order_);
END $$;

-- Many payments, in the order given: the same as `pay` for each. When all are new and covered they are applied as sets; when one
-- is not, one by one. The answer: the balances, and which were refused.
CREATE FUNCTION pay_all(
    at_ bigint, payers bytea[], requests uuid[], contents uuid[], payees bytea[], amounts bigint[], fee_ bigint, orders text[],
    OUT balances bigint[], OUT refusals boolean[]
) LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    covered boolean;
BEGIN
    -- Nobody else pays meanwhile: what is read below stays true.
    LOCK TABLE accounts IN EXCLUSIVE MODE;
    BEGIN
        WITH batch AS MATERIALIZED (
            SELECT place, d.account AS debit, d.available, c.account AS credit, c.notices, request, content, amount, order_
            FROM unnest(payers, requests, contents, payees, amounts, orders)
                WITH ORDINALITY AS b (payer, request, content, payee, amount, order_, place)
            JOIN accounts AS d ON d.holder = payer
            JOIN accounts AS c ON c.holder = payee
            WHERE payer <> payee AND amount > 0 AND fee_ >= 0
        ), legs AS (
            SELECT place, debit AS account, available, 0::bigint AS notices, -amount - fee_ AS change, 0::bigint AS told FROM batch
            UNION ALL
            SELECT place, credit, 0, notices, amount, 1 FROM batch
        ), running AS MATERIALIZED (
            SELECT place, account, change, told,
                   available + total(change) OVER before AS balance, notices + total(told) OVER before AS notice
            FROM legs WINDOW before AS (PARTITION BY account ORDER BY place ROWS UNBOUNDED PRECEDING)
        ), moved AS (
            UPDATE accounts SET available = available + sum.change, notices = notices + sum.told
            FROM (SELECT account, total(change) AS change, total(told) AS told FROM running GROUP BY account) AS sum
            WHERE accounts.account = sum.account
        ), income AS (
            UPDATE fees SET collected = collected + fee_ * cardinality(payers) WHERE slot = 0
        ), added AS (
            -- In the order of the primary key, whose pages are then found in the cache.
            INSERT INTO transfers
            SELECT debit, credit, at_, amount, fee_, paid.balance, received.notice, request, content, order_
            FROM batch
            JOIN running AS paid ON paid.place = batch.place AND paid.told = 0
            JOIN running AS received ON received.place = batch.place AND received.told = 1
            ORDER BY debit, request
        )
        SELECT array_agg(balance ORDER BY place), min(balance) >= 0 INTO balances, covered FROM running WHERE told = 0;
        IF covered AND cardinality(balances) = cardinality(payers) THEN
            refusals := array_fill(false, ARRAY[cardinality(payers)]);
            RETURN;
        END IF;
        RAISE check_violation;
    EXCEPTION
        WHEN unique_violation OR check_violation THEN NULL;
    END;
    SELECT array_agg((answer).balance_ ORDER BY place), array_agg((answer).refused_ ORDER BY place) INTO balances, refusals
    FROM (
        SELECT place, pay(0, at_, payer, request, content, payee, amount, fee_, order_) AS answer
        FROM (
            SELECT *
            FROM unnest(payers, requests, contents, payees, amounts, orders)
                WITH ORDINALITY AS b (payer, request, content, payee, amount, order_, place)
            ORDER BY place
        ) AS batch
        OFFSET 0 -- so that each payment is made once
    ) AS answers;
END $$;
