-- What a match must be besides fitting its pattern (the shim's redaction_patterns.csv, column check).
create or replace macro has_digit(found) as regexp_matches(found, '[0-9]');
-- ISO/IEC 7812: the check digit of a card number (Luhn).
create or replace macro is_card_number(found) as
    list_sum(list_transform(string_split(reverse(regexp_replace(found, '[^0-9]', '', 'g')), ''),
        lambda digit, place: case when place % 2 = 1 then digit::integer
            else (2 * digit::integer) // 10 + (2 * digit::integer) % 10 end)) % 10 = 0;
-- ISO 13616: the remainder of an IBAN, letters read as numbers from 10.
create or replace macro iban_remainder(found) as
    list_reduce(list_transform(string_split(found[5:] || found[:4], ''),
            lambda sign: case when sign between '0' and '9' then sign::bigint else ascii(sign) - 55 end),
        lambda read, number: (read * case when number > 9 then 100 else 10 end + number) % 97);
-- The last group may be a word that follows.
create or replace macro is_bank_account(found) as
    iban_remainder(replace(found, ' ', '')) = 1
    or coalesce(iban_remainder(replace(regexp_replace(found, ' [A-Z0-9]{1,4}$', ''), ' ', '')) = 1, false);
-- Four numbers up to 255 and nothing of a version around them: Chrome/120.0.0.0, v1.2.3.4, 1.2.3.4.5, pkg-1.2.3.4.
create or replace macro is_ip_address(found) as
    regexp_full_match(found, '((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])');
