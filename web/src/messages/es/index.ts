import common from "./common.json";
import playground from "./playground.json";
import query from "./query.json";
import serving from "./serving.json";
import sql from "./sql.json";

export default { common, playground, query, serving, sql };
