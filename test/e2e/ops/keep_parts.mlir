// Written by generate.py: parts of parameters: rows and columns of weights, of vectors; a block-diagonal matrix
// RUN: heddle-run-ir %s
// RUN: heddle-run-ir --target interpreter:cpu %s
// RUN: heddle-run-ir --target cpu:x86-64-v3 %s
// RUN: %if cpu-avx_vnni %{ heddle-run-ir --target cpu:x86-64-v3-vnni %s %}
// RUN: %if cpu-avx512_vnni %{ heddle-run-ir --target cpu:x86-64-v4-vnni %s %}
// RUN: %if cpu-amx_bf16 %{ heddle-run-ir --target cpu:x86-64-v4-amx %s %}

module attributes {heddle.files = [dense<"0x1420DB796056FF4F1662641ABB35087E434D8C11E5CCEA671B284E67C3DCBE3683B185247F69917234E4E91A49E4768C34ECF0BD6D5D337EAA76392F45C73AACB5C2FF07F82287A0D1B49F265F357EDC447452E706CF263672AC6CBBA34D636C1E2AF00F2B90AA24674A696EBA743659B0E0E25F0884DDAC89BBDD0A95F08614EB9638ABB4498C783821134A18274AB5B928D892ACCA0E9416D2D7E59DABB46A087ABA40F907025971D6CC214BCEAE0C792228471BCFFB7A08D66C13293394B298B0EA601490C20B84BAA30A072079D49528EDA1CB3F38FB79F04D46CB93FA8A03B8FCB2DC890DB8111FF87B598AFA2303AF3FE7867FEF0C87D17B876D427044C8149FCC5A47F9A7AF85F420A1FBD18D0B2475ACE5B225E69474C34B85FD3E36165E0B10B74842DA89FF783A0AEEA61C8E635F2158FD2BF4998C2CA53EE0C85095E9C19A1FAE5A15F1BCFBA7EAF790B2991B426C9B23B2BCFF0BEA96EA5B39E0B366262505A71F298D27B62F67468FD156E063FD5739B9242CFEF1235BED73AF3503EC8A16A3D84F723EB0A081E85578E3AD2BE7D98CCE647F22B5BDC87910E5B8594426E02141EFAE7BCDAE9603C6E2684A37BAC6E19D84DB85F12217C5B5CA16E6B0FE2560BCA7E75F73A5C185BCF123AEF2496FF5BF08B8436C80E622366BC6B113D007CCF257C6B0F5217D6D3A30CDCB743BA1FD48F504BED0FBBD7A9E23082651C26355F89BC08D7ECA1B9A6EC2C7F5261E1EE9D752AA7DA2BF78DDBAAD8225A97F5283C83D971027A15BDC84B3383C89B508516FA6F548C3A53D6F26E588FCFA21B3A973FD911B8B844E7368A8CDAE27A0FD39E228642F0E68C15625B56604D17EE5251E861106A8355D592F3A15717FBB6A9F51CF85BA0611BE84FA8219D2D2226489EB24685BEDB1B255B77C5464E8EA6507860B2D1279D170083EFF10822A3567E2507A73208286E3731ECC8F9436FE4AAB1D1F0420DC5EBFAF007728192D978AE3B512DEACD322912D685D26D4D5646CBC9EF0E3F089E28407BEF80D0C0F3EA874339BE209CB8E7A2540F311DD87D420AF02367235257D94537446798EDAE7A4872781D8127CD213BDDF2584378DB492111782FF56F68239127FB258E910D552120AFA2727B7391901850ACA243BB3F0F8C6A214F94C2A608D4B8041E7EE03445CF98AD008BE9796C45B50BAF82D21648E2AFFC825EB8D1882E56066588A9332EE3F5389A0587CA42AC3A3765D4E36FE24386F869F069238E685B9F9E78A86ACDED6B9CD5080891FB660A818547C8425F11E229268E6756F9BEE204BC4BAE200A8C8B487548D2F33E5BA3951248403A039DB2638236830834B95DE955A2D6C882D174F61C19A8B931D1AF24F3F12BE361765353F504E2130E3AD8068DDF3693C5158FDBAD709D2F78506014874C719868A7B8DA8418AC9B02228461164DAE79D6F28D19A89F3E8B975E32D960EBE4563A9EC5CBED9D60D40949122514893B4B64A09C7F2EB8E3194F9DF6DDE0CE96F642A0C93AEAF53FD0630E8241F20FEE60C7F476CBD360035FCF27E284840BDA6D8EB204E3DE14F4D85CB82A8CB8E6125CE1101DAD12E4278F457B328C807833CFFB7330DEDD1231005291B1047F270478023E772947119DCA0A9215B6E148DAB529822CD0C40DD450FD2C52C6A7B77533A25AC2499439FA333440866E2F9B32FE5456836C3C9A744F26B1136E013C10249474554"> : tensor<1224xi8>]} {
  heddle.param @w : !heddle.stored<6x128xf32, #heddle.enc<q8_0>> file 0 at 0
  heddle.param @small : tensor<3x2xf32> value dense<[[0.671875, -0.015625], [-1.734375, -1.75], [-0.109375, 1.46875]]> : tensor<3x2xf32>
  heddle.param @rows : !heddle.stored<4x128xf32, #heddle.enc<q8_0>> derived [@w] {
  ^bb0(%a: !heddle.stored<6x128xf32, #heddle.enc<q8_0>>):
    %0 = heddle.keep_parts %a axis 0 keep [false, true, true] : !heddle.stored<6x128xf32, #heddle.enc<q8_0>> -> !heddle.stored<4x128xf32, #heddle.enc<q8_0>>
    heddle.yield %0 : !heddle.stored<4x128xf32, #heddle.enc<q8_0>>
  }
  heddle.param @columns : !heddle.stored<6x64xf32, #heddle.enc<q8_0>> derived [@w] {
  ^bb0(%a: !heddle.stored<6x128xf32, #heddle.enc<q8_0>>):
    %0 = heddle.keep_parts %a axis 1 keep [true, false, false, true] : !heddle.stored<6x128xf32, #heddle.enc<q8_0>> -> !heddle.stored<6x64xf32, #heddle.enc<q8_0>>
    heddle.yield %0 : !heddle.stored<6x64xf32, #heddle.enc<q8_0>>
  }
  heddle.param @vectors : tensor<2x2xf32> derived [@small] {
  ^bb0(%a: tensor<3x2xf32>):
    %0 = heddle.keep_parts %a axis 0 keep [true, false, true] : tensor<3x2xf32> -> tensor<2x2xf32>
    heddle.yield %0 : tensor<2x2xf32>
  }
  heddle.param @diagonal : tensor<3x6xf32> derived [@small] {
  ^bb0(%a: tensor<3x2xf32>):
    %0 = heddle.block_diagonal %a : tensor<3x2xf32> -> tensor<3x6xf32>
    heddle.yield %0 : tensor<3x6xf32>
  }
  heddle.param @long : !heddle.stored<12x32xf32, #heddle.enc<q8_0>> file 0 at 816
  heddle.param @gap : !heddle.stored<9x32xf32, #heddle.enc<q8_0>> derived [@long] {
  ^bb0(%a: !heddle.stored<12x32xf32, #heddle.enc<q8_0>>):
    %0 = heddle.keep_parts %a axis 0 keep [true, true, false, true] : !heddle.stored<12x32xf32, #heddle.enc<q8_0>> -> !heddle.stored<9x32xf32, #heddle.enc<q8_0>>
    heddle.yield %0 : !heddle.stored<9x32xf32, #heddle.enc<q8_0>>
  }

  func.func @kept_rows(%x: tensor<?x128xf32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x4xf32>) attributes {heddle.example = [
      {inputs = [dense<[[0.0, -0.625, -0.25, 0.0, -1.5, -1.25, 1.25, 2.0, 1.25, 1.875, -1.0, 0.875, -1.25, -0.625, 0.375, 0.375, 0.875, -0.625, 0.25, -1.375, 0.375, 0.5, 1.5, -0.5, 0.875, 1.375, -0.375, -1.0, -1.5, 0.25, 1.5, 0.625, 0.125, -1.5, -1.875, 1.25, 1.625, -0.125, 1.0, -0.25, 0.625, 1.75, -1.5, 2.0, -0.125, 1.75, -1.0, 0.25, 1.75, 0.625, -0.5, 1.375, -1.0, 0.5, 0.875, -1.875, 2.0, -1.5, -0.125, 1.125, -0.25, 0.375, -0.625, 0.125, -1.0, 0.0, -1.375, 1.375, 0.625, -1.375, 0.875, 1.125, 1.875, 1.0, -1.5, -2.0, -1.125, -0.75, -1.25, 1.75, 1.75, 0.625, -0.75, 1.75, -0.125, -0.875, -0.625, -0.75, 0.75, -0.875, 1.375, 2.0, -0.625, -1.5, 0.5, -2.0, -0.875, 1.625, 1.25, -0.625, 1.875, 1.875, 1.875, 0.25, -1.625, -1.125, 0.75, -1.125, 1.25, -1.625, -1.125, 0.625, 1.125, 1.25, 0.875, -1.375, 0.875, -0.5, -1.875, -1.125, 1.75, 0.125, -0.25, 1.25, -1.375, 0.625, -0.25, -1.25], [2.0, -0.375, -0.125, -1.25, -1.75, -1.25, -0.125, 1.0, -1.875, 2.0, 1.375, -1.75, -1.875, -0.25, -0.375, 1.0, 1.75, -0.5, 1.5, -0.75, 1.875, 0.0, 2.0, -0.375, 0.375, 0.0, -1.25, 2.0, -0.5, -1.75, 1.375, -0.25, -1.0, -1.25, -2.0, -0.25, -1.125, 1.75, -0.5, 1.125, 0.25, -1.625, 1.0, -0.625, 1.125, -0.125, 0.25, 0.875, -1.625, -0.875, 1.5, -2.0, 1.375, -0.5, 0.75, -0.5, 1.5, -0.375, -0.5, 1.5, -1.25, -0.375, 0.875, -0.5, 1.625, -0.5, -1.125, -1.0, -1.5, 0.625, -0.625, 1.0, 0.5, 0.25, 0.5, 1.0, -0.75, 1.0, -2.0, 2.0, -1.625, 1.875, 1.125, 0.0, -1.5, -0.5, 1.875, 0.375, -1.375, 1.875, -1.625, 1.25, -0.375, -2.0, -1.25, 0.375, 1.5, 0.0, 1.375, 1.875, -1.875, 1.375, 1.875, 0.125, -1.625, -0.875, 0.875, -0.5, 1.0, 1.375, 0.875, -0.5, -1.875, 0.75, 1.5, -1.5, 1.375, 0.25, 1.25, -1.0, 1.875, 1.75, -0.625, -1.625, 1.875, 0.375, 1.0, 0.75], [-1.5, 1.125, -0.375, 2.0, 0.625, -0.5, 0.375, -1.0, -0.375, -0.125, -1.25, -1.375, -0.375, 1.75, 0.75, -1.125, -1.5, 0.375, 0.0, -0.125, 0.25, -0.5, 2.0, -0.875, 0.0, 1.875, -2.0, -0.625, 0.5, 1.75, 0.375, -0.375, -1.75, 0.875, 1.375, -1.375, 0.125, -2.0, 0.375, -0.875, -0.625, -0.375, 1.375, -0.75, -1.0, 0.125, -1.375, 1.375, 1.875, -1.375, 1.75, 2.0, -1.0, 0.875, 0.125, -0.5, -0.625, 1.75, 1.0, 0.375, 0.0, -0.875, 2.0, 0.25, 0.375, -1.125, 2.0, 1.5, 1.375, -1.25, 0.5, 0.0, 0.125, 0.25, 1.0, -0.75, 1.625, -1.5, -0.5, -0.75, -1.0, -1.375, -0.5, -1.125, -1.125, 0.375, -1.5, -0.375, 0.75, 0.5, 0.125, -0.375, 0.75, 2.0, -1.75, 1.125, 0.25, 1.25, 0.75, 1.75, -1.875, -1.25, 1.5, 0.75, 0.75, -0.875, -1.625, -1.875, -1.5, 0.0, 1.625, 0.625, 0.375, -1.0, 0.625, -1.0, -0.125, 0.625, -1.875, 1.125, 0.75, 0.875, -1.875, 1.5, -0.875, -0.75, -1.0, 1.0]]> : tensor<3x128xf32>],
       expected = [dense<[[8.101736, 15.337338, -34.546326, -6.4845514], [-19.20383, 7.326936, -26.681705, 3.9895267], [-0.87112236, -15.506483, -12.570944, 15.429693]]> : tensor<3x4xf32>]}]} {
    %w = heddle.get_param @rows : !heddle.stored<4x128xf32, #heddle.enc<q8_0>>
    %y = heddle.linear %x, %w : tensor<?x128xf32>, !heddle.stored<4x128xf32, #heddle.enc<q8_0>> -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }

  func.func @kept_columns(%x: tensor<?x64xf32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x6xf32>) attributes {heddle.example = [
      {inputs = [dense<[[0.0, -0.625, -0.25, 0.0, -1.5, -1.25, 1.25, 2.0, 1.25, 1.875, -1.0, 0.875, -1.25, -0.625, 0.375, 0.375, 0.875, -0.625, 0.25, -1.375, 0.375, 0.5, 1.5, -0.5, 0.875, 1.375, -0.375, -1.0, -1.5, 0.25, 1.5, 0.625, 0.125, -1.5, -1.875, 1.25, 1.625, -0.125, 1.0, -0.25, 0.625, 1.75, -1.5, 2.0, -0.125, 1.75, -1.0, 0.25, 1.75, 0.625, -0.5, 1.375, -1.0, 0.5, 0.875, -1.875, 2.0, -1.5, -0.125, 1.125, -0.25, 0.375, -0.625, 0.125], [2.0, -0.375, -0.125, -1.25, -1.75, -1.25, -0.125, 1.0, -1.875, 2.0, 1.375, -1.75, -1.875, -0.25, -0.375, 1.0, 1.75, -0.5, 1.5, -0.75, 1.875, 0.0, 2.0, -0.375, 0.375, 0.0, -1.25, 2.0, -0.5, -1.75, 1.375, -0.25, -1.0, -1.25, -2.0, -0.25, -1.125, 1.75, -0.5, 1.125, 0.25, -1.625, 1.0, -0.625, 1.125, -0.125, 0.25, 0.875, -1.625, -0.875, 1.5, -2.0, 1.375, -0.5, 0.75, -0.5, 1.5, -0.375, -0.5, 1.5, -1.25, -0.375, 0.875, -0.5], [-1.5, 1.125, -0.375, 2.0, 0.625, -0.5, 0.375, -1.0, -0.375, -0.125, -1.25, -1.375, -0.375, 1.75, 0.75, -1.125, -1.5, 0.375, 0.0, -0.125, 0.25, -0.5, 2.0, -0.875, 0.0, 1.875, -2.0, -0.625, 0.5, 1.75, 0.375, -0.375, -1.75, 0.875, 1.375, -1.375, 0.125, -2.0, 0.375, -0.875, -0.625, -0.375, 1.375, -0.75, -1.0, 0.125, -1.375, 1.375, 1.875, -1.375, 1.75, 2.0, -1.0, 0.875, 0.125, -0.5, -0.625, 1.75, 1.0, 0.375, 0.0, -0.875, 2.0, 0.25]]> : tensor<3x64xf32>],
       expected = [dense<[[-4.609371, -11.835716, 7.5766582, -20.822664, -20.411835, -5.4399233], [-16.59233, 11.1703, -9.048311, -5.236122, 14.011841, 6.1137075], [-12.612877, -6.505583, -9.918852, 0.3251152, -17.654373, 0.9533844]]> : tensor<3x6xf32>]}]} {
    %w = heddle.get_param @columns : !heddle.stored<6x64xf32, #heddle.enc<q8_0>>
    %y = heddle.linear %x, %w : tensor<?x64xf32>, !heddle.stored<6x64xf32, #heddle.enc<q8_0>> -> tensor<?x6xf32>
    return %y : tensor<?x6xf32>
  }

  func.func @read_vectors(%i: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x2xf32>) attributes {heddle.example = [
      {inputs = [dense<[1, 0]> : tensor<2xi32>],
       expected = [dense<[[-0.109375, 1.46875], [0.671875, -0.015625]]> : tensor<2x2xf32>]}]} {
    %t = heddle.get_param @vectors : tensor<2x2xf32>
    %y = heddle.gather_rows %t, %i : tensor<2x2xf32>, tensor<?xi32> -> tensor<?x2xf32>
    return %y : tensor<?x2xf32>
  }

  func.func @read_diagonal(%i: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x6xf32>) attributes {heddle.example = [
      {inputs = [dense<[1, 0]> : tensor<2xi32>],
       expected = [dense<[[0.0, 0.0, -1.734375, -1.75, 0.0, 0.0], [0.671875, -0.015625, 0.0, 0.0, 0.0, 0.0]]> : tensor<2x6xf32>]}]} {
    %t = heddle.get_param @diagonal : tensor<3x6xf32>
    %y = heddle.gather_rows %t, %i : tensor<3x6xf32>, tensor<?xi32> -> tensor<?x6xf32>
    return %y : tensor<?x6xf32>
  }

  func.func @kept_around_a_gap(%x: tensor<?x32xf32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x9xf32>) attributes {heddle.example = [
      {inputs = [dense<[[0.0, -0.625, -0.25, 0.0, -1.5, -1.25, 1.25, 2.0, 1.25, 1.875, -1.0, 0.875, -1.25, -0.625, 0.375, 0.375, 0.875, -0.625, 0.25, -1.375, 0.375, 0.5, 1.5, -0.5, 0.875, 1.375, -0.375, -1.0, -1.5, 0.25, 1.5, 0.625], [2.0, -0.375, -0.125, -1.25, -1.75, -1.25, -0.125, 1.0, -1.875, 2.0, 1.375, -1.75, -1.875, -0.25, -0.375, 1.0, 1.75, -0.5, 1.5, -0.75, 1.875, 0.0, 2.0, -0.375, 0.375, 0.0, -1.25, 2.0, -0.5, -1.75, 1.375, -0.25], [-1.5, 1.125, -0.375, 2.0, 0.625, -0.5, 0.375, -1.0, -0.375, -0.125, -1.25, -1.375, -0.375, 1.75, 0.75, -1.125, -1.5, 0.375, 0.0, -0.125, 0.25, -0.5, 2.0, -0.875, 0.0, 1.875, -2.0, -0.625, 0.5, 1.75, 0.375, -0.375]]> : tensor<3x32xf32>],
       expected = [dense<[[-6.5031166, -5.0190926, -8.8655205, -1.3859253, 7.0178375, 1.5411568, 17.15577, -2.647705, 2.70549], [1.5152893, -8.482671, 14.269661, -14.589552, -0.6044998, -0.71100426, 11.839897, 0.5566406, -10.326942], [-2.712555, 3.0251026, -6.1987953, 11.771404, 5.054535, -10.777737, -2.8680496, 5.216675, 8.734673]]> : tensor<3x9xf32>]}]} {
    %w = heddle.get_param @gap : !heddle.stored<9x32xf32, #heddle.enc<q8_0>>
    %y = heddle.linear %x, %w : tensor<?x32xf32>, !heddle.stored<9x32xf32, #heddle.enc<q8_0>> -> tensor<?x9xf32>
    return %y : tensor<?x9xf32>
  }
}
